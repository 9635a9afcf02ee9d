.PHONY: run test bench chaos

run:
	./run

test:
	./run test

bench:
	./run bench

chaos:
	./run chaos
