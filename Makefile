.PHONY: run test bench bench-all chaos fuzz

run:
	./run

test:
	./run test

bench:
	./run bench

bench-all:
	./run bench --all

chaos:
	./run chaos

fuzz:
	./run fuzz

model:
	./run model
