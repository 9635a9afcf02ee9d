"""The promises tested by breaking things: each row of the matrix breaks one thing under load, `make chaos` runs them.

A row is a function in a module of its own in `chaos/rows/`; it is found there by itself:

    @row(1, "killed processes", broken="SIGKILL of ...", promise="nothing acknowledged is lost")
    def killed_processes(run: Run) -> None:
        with run.serving(), run.load(per_second=60):
            while run.time_left():
                run.killed("spooler", pid)      # what was broken is told to the killer's log

When it returns, all that was accepted is given time to end, and `chaos/checker.py` judges: a program of its own, which
reads what senders were answered, what took effect, what was broken, and the command `webspool`, and nothing else.
"""
