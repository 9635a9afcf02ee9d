"""With this folder on PYTHONPATH, a Python lacks what only Unix has, as far as that can be hidden from it."""

import os
import select
import signal
import socket
import sys

MODULES = ("uwsgi", "pyuwsgi", "gevent", "fcntl", "resource", "pwd", "grp", "termios", "pty")


class Hidden:
    """Finds none of them."""

    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ImportError(f"No module named {name!r} on this system", name=name)


sys.meta_path.insert(0, Hidden())
for name in MODULES:
    sys.modules.pop(name, None)
for module, names in (
    (os, ("fork", "setsid", "killpg", "register_at_fork", "O_DIRECTORY", "pidfd_open", "waitid", "getppid")),
    (os, ("getuid", "geteuid", "getgid", "getegid", "setuid", "setgid", "setgroups", "chown", "mkfifo")),
    (socket, ("AF_UNIX", "send_fds", "recv_fds")),
    (signal, ("SIGALRM", "SIGKILL", "SIGSTOP", "SIGHUP", "SIGCHLD", "SIGPIPE", "SIGUSR1", "SIGUSR2")),
    (signal, ("setitimer", "pthread_sigmask")),
    (select, ("poll", "epoll")),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
