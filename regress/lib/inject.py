"""System calls made by somebody else: ptrace(2) stops a living process, has
it make a call with arguments of ours, and lets it go on as if nothing had
been. Root only, x86-64 only."""

import ctypes
import os
import signal

CALLS = {"read": 0, "close": 3, "mmap": 9, "mprotect": 10, "dup": 32,
         "dup2": 33, "socket": 41, "connect": 42, "bind": 49, "clone": 56,
         "execve": 59, "kill": 62, "ptrace": 101, "setuid": 105,
         "symlink": 88, "chown": 92, "prctl": 157, "mount": 165, "ioctl": 16,
         "add_key": 248, "openat": 257, "unshare": 272,
         "process_vm_readv": 310, "bpf": 321, "execveat": 322,
         "io_uring_setup": 425}

SEIZE, INTERRUPT, GETREGS, SETREGS, SINGLESTEP, DETACH = (
    0x4206, 0x4207, 12, 13, 9, 17)
EVENT_STOP = 128
NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax "
         "rip cs eflags rsp ss fs_base gs_base ds es fs gs").split()

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                         ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulong) for name in NAMES]


class Killed(Exception):
    """The process died of the call; .signal says by what."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.signal = number


def _ptrace(request, pid, address=None, data=None):
    if _libc.ptrace(request, pid, address, data) == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), f"ptrace {request}")


class Held:
    """A process of somebody else's, stopped where a call can be made:

        with Held(pid) as held:
            held.call("openat", -100, b"/etc/passwd", 0, 0)
    """

    def __init__(self, pid):
        self.pid = pid
        self.dead = False

    def __enter__(self):
        _ptrace(SEIZE, self.pid)
        self.memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR)
        # Stopped in a call, the instruction before is the one that makes it.
        while True:
            _ptrace(INTERRUPT, self.pid)
            self._wait()
            self.saved = self._registers()
            if os.pread(self.memory, 2, self.saved.rip - 2) == b"\x0f\x05":
                return self
            _ptrace(7, self.pid)  # PTRACE_CONT

    def __exit__(self, *_):
        os.close(self.memory)
        if not self.dead:
            self._set(self.saved)
            _ptrace(DETACH, self.pid)

    def _wait(self):
        _, status = os.waitpid(self.pid, 0x40000000)  # __WALL
        if os.WIFSIGNALED(status):
            self.dead = True
            raise Killed(os.WTERMSIG(status))
        assert os.WIFSTOPPED(status), status

    def _registers(self):
        out = Registers()
        _ptrace(GETREGS, self.pid, None, ctypes.byref(out))
        return out

    def _set(self, registers):
        _ptrace(SETREGS, self.pid, None, ctypes.byref(registers))

    def call(self, name, *arguments):
        """Make the call; bytes among the arguments lie on the stack and are
        passed by address. The result, negative errno included. Killed when
        the process does not survive it."""
        at = (self.saved.rsp - 4096) & ~15
        values = []
        for one in arguments:
            if isinstance(one, bytes):
                at = (at - len(one) - 1) & ~15
                os.pwrite(self.memory, one + b"\0", at)
                one = at
            values.append(one & (2**64 - 1))
        registers = Registers.from_buffer_copy(self.saved)
        registers.rax = CALLS[name]
        registers.orig_rax = 2**64 - 1  # nothing to restart
        registers.rip = self.saved.rip - 2
        for where, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"),
                                values):
            setattr(registers, where, value)
        self._set(registers)
        _ptrace(SINGLESTEP, self.pid)
        self._wait()
        return ctypes.c_long(self._registers().rax).value
