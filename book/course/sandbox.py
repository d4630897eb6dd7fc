"""Where a student's process runs: in a container, behind bubblewrap, in namespaces of
its own, or plainly.

In all but the last it has no network and sees the system, the package and a
folder of its own, nothing of the course. Limits of memory, files, processes and
time hold in each.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

from .assignments import CourseError
from .worker import student as student_process
from .worker.channel import Channel, ChannelError, Silent
from .worker.student import MEMORY, PROCESSES

KINDS = ("container", "bubblewrap", "unshare", "none")
_UNASKED = (
    "unshare",
    "bubblewrap",
    "none",
)  # the second loads PyTorch for each student
IMAGE = "docker.io/library/busybox"  # any will do: the system's own folders stand in it
HOME = "/home/student"
ROOM = 2**28  # bytes that its files take, in each of two folders
_TRIAL = 120  # seconds that a sandbox has to show that it works
_WORKER = Path(__file__).with_name("worker")
_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/etc/fonts")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_in_force = "none"
_closed: list[str] = []  # folders that Python refuses to open where there is no sandbox

# From Linux's headers: Python 3.11 has none of these calls.
_CLONE = {"mount": 0x20000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
_CLONE |= {"ipc": 0x08000000, "uts": 0x04000000}
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 32, 4096
_MS_REC, _MS_PRIVATE, _MNT_DETACH = 16384, 1 << 18, 2
_PR_DEATHSIG, _PR_DUMPABLE, _PR_SUBREAPER = 1, 4, 36
_PR_CAPBSET_DROP, _PR_NO_NEW_PRIVS = 24, 38


def choose(asked: str) -> str:
    """The kind to use: what was asked for if it works here, or the best that does.

    Raises:
        CourseError: what was asked for does not work here.
    """
    global _in_force
    if asked and asked not in KINDS:
        raise CourseError(
            f"SANDBOX={asked} is unknown; give container, bubblewrap, unshare or none"
        )
    works: dict[str, Callable[[], str]] = {
        "container": _container_problem,
        "bubblewrap": _bubblewrap_problem,
        "unshare": _unshare_problem,
        "none": lambda: "",
    }
    if asked:
        if problem := works[asked]():
            raise CourseError(f"SANDBOX={asked} does not work here: {problem}")
        _in_force = asked
    else:
        _in_force = next(kind for kind in _UNASKED if not works[kind]())
    return _in_force


def in_force() -> str:
    """The kind that was chosen."""
    return _in_force


def close_to_students(folders: list[Path]) -> None:
    """Name the folders that a student's Python is to refuse where
    there is no sandbox.
    """
    _closed[:] = [os.path.realpath(folder) for folder in folders]


def closed() -> list[str]:
    """Those folders."""
    return list(_closed)


def _refuse(folders: list[str]) -> None:
    """Open nothing in these folders: against accidents and curiosity,
    not against craft.
    """

    def watch(event: str, arguments: tuple) -> None:
        if event in ("open", "os.listdir", "os.scandir", "os.rename", "os.remove"):
            for path in arguments[:2]:
                if isinstance(path, (str, bytes)):
                    real = os.path.realpath(os.fsdecode(path))
                    if any(
                        real == one or real.startswith(one + os.sep) for one in folders
                    ):
                        raise PermissionError(
                            "a folder of the course, closed to students"
                        )
        if event in ("os.kill", "os.killpg") and arguments[0] not in (0, os.getpid()):
            raise PermissionError("another process")

    sys.addaudithook(watch)


SAID = {
    "container": "each submission runs in a container without a network",
    "bubblewrap": "each submission runs behind bubblewrap, without a network",
    "unshare": "each submission runs in Linux namespaces of its own, without a network",
    "none": (
        "NO sandbox is in force: student code runs with your rights and can "
        "read your files; use SANDBOX=container, bubblewrap or unshare, or a "
        "user who owns nothing"
    ),
}


# --- starting -------------------------------------------------------------------------


class _Forked:
    """A student's process that is this one's child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(self.pid, 0)


class _Started:
    """A student's process that another program holds, `name` the container's."""

    def __init__(self, process: subprocess.Popen, name: str) -> None:
        self.process, self.name = process, name

    def kill(self) -> None:
        self.process.kill()
        if self.name:  # what the engine runs is no child of the program that asked it
            subprocess.Popen(
                [_engine(), "rm", "--force", self.name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ).wait()
        self.process.wait()


def start(
    kind: str,
    seconds: float,
    total: float,
    folder: str,
    refused: list[str],
    errors: int = subprocess.DEVNULL,
):
    """Begin a student's process in a folder of its own; a channel to
    it, and its handle. What another program says on the way goes to `errors`.
    """
    if kind in ("none", "unshare") and hasattr(os, "fork"):
        return _fork(kind, seconds, total, folder, refused)
    name = f"grading-{secrets.token_hex(8)}" if kind == "container" else ""
    process = subprocess.Popen(
        _command(kind, seconds, total, folder, name),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd=folder,
        start_new_session=True,
        env=_environment(kind),
    )
    channel = Channel(process.stdout.fileno(), process.stdin.fileno())
    return channel, _Started(process, name)


def _environment(kind: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT", "HOME",
            "XDG_RUNTIME_DIR", "DOCKER_HOST") if name in os.environ}  # fmt: skip
    if kind == "none":
        kept["PYTHONPATH"] = os.pathsep.join([str(_WORKER.parent), *_packages()])
    return kept


def _fork(kind: str, seconds: float, total: float, folder: str, refused: list[str]):
    ours, theirs = os.pipe(), os.pipe()  # to us, to them
    _prctl(_PR_SUBREAPER, 1)  # what a student leaves behind becomes ours to end
    pid = os.fork()
    if pid:
        os.close(ours[1])
        os.close(theirs[0])
        return Channel(ours[0], theirs[1]), _Forked(pid)
    try:
        os.setsid()
        _prctl(_PR_DEATHSIG, signal.SIGKILL)
        read, write = _only(theirs[0], ours[1])
        home = folder
        if kind == "unshare":
            home = _unshare(folder)
        else:
            _refuse(refused)
        student_process.serve(Channel(read, write), seconds, total, home)
    except BaseException as problem:
        with contextlib.suppress(OSError):
            os.write(2, f"{type(problem).__name__}: {problem}\n".encode())
    finally:
        os._exit(0)


def _only(read: int, write: int) -> tuple[int, int]:
    """Keep these two descriptors and the standard ones; close all others."""
    high = max(read, write, 10) + 1
    os.dup2(read, high, inheritable=False)
    os.dup2(write, high + 1, inheritable=False)
    os.closerange(3, high)
    os.closerange(high + 2, 65_536)
    return high, high + 1


def end_children() -> None:
    """Kill whatever is still a child of this process, and theirs
    as they become ours.
    """
    for _ in range(1000):
        try:
            text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        except OSError:
            return
        if not text.split():
            return
        for pid in map(int, text.split()):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)


def hide_memory() -> None:
    """Other processes of the same user cannot look into this one."""
    _prctl(_PR_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


# --- namespaces -----------------------------------------------------------------------


def _packages() -> list[str]:
    """The folders that Python's packages are in, and no folder of the course."""
    import pltutorial

    found = [
        sysconfig.get_path(name)
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    ]
    found += [path for path in sys.path if path.endswith(("-packages", "lib-dynload"))]
    root = Path(pltutorial.__file__).parents[1]
    return [*dict.fromkeys(found)] + ([] if str(root) in found else [str(root)])


def _wanted() -> list[str]:
    """What a student's process may read, as Python names it."""
    import pltutorial

    found = [*_SYSTEM, sys.prefix, sys.base_prefix]
    found += [str(Path(pltutorial.__file__).parent), *_packages()[:-1]]
    return [path for path in found if Path(path).exists() and path != "/"]


def _visible() -> list[str]:
    """The same without symbolic links, and none inside of another."""
    kept: list[str] = []
    for path in sorted({os.path.realpath(path) for path in _wanted()}, key=len):
        if not any(Path(path).is_relative_to(other) for other in kept):
            kept.append(path)
    return kept


def _links() -> dict[str, str]:
    """Symbolic links on the way there, such as /bin and an environment's own."""
    found = {}
    for path in _wanted():
        for part in reversed([Path(path), *Path(path).parents]):
            if part.is_symlink():
                found[str(part)] = os.path.realpath(part)
                break
    return found


def _call(name: str, *arguments) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [text.encode() if text else None for text in (source, target, kind)]
    _call("mount", *words, ctypes.c_ulong(flags), data.encode() or None)


def _unshare(folder: str) -> str:
    """Put this process, and no other, into a small world of its own; its home there."""
    user, group = os.getuid(), os.getgid()
    _call("unshare", sum(_CLONE.values()))
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"1000 {user} 1")
    Path("/proc/self/gid_map").write_text(f"1000 {group} 1")
    pid = os.fork()
    if pid:  # waits, and ends with what it waits for
        _, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    _prctl(_PR_DEATHSIG, signal.SIGKILL)
    _world(folder)
    _drop()
    return HOME


def _world(root: str) -> None:
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1g,mode=755")
    for path in (*_visible(), *_DEVICES):
        place = Path(root + path)
        if Path(path).is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        _mount(path, str(place), "", _MS_BIND | _MS_REC)
        if path not in _DEVICES:
            kept = os.statvfs(path).f_flag & (2 | 4 | 8 | 1024)
            flags = _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | kept
            with contextlib.suppress(OSError):
                _mount("", str(place), "", flags)
    for path, real in _links().items():
        if not Path(root + path).exists():
            Path(root + path).parent.mkdir(parents=True, exist_ok=True)
            Path(root + path).symlink_to(real)
    for path in ("/proc", "/tmp", HOME, "/old"):
        Path(root + path).mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # some containers forbid it; no one needs it
        _mount("proc", f"{root}/proc", "proc", _MS_NOSUID | _MS_NODEV)
    os.chdir(root)
    _call("pivot_root", b".", b"old")
    os.chdir("/")
    _call("umount2", b"/old", _MNT_DETACH)
    Path("/old").rmdir()


def _drop() -> None:
    """No capability is left, and none comes back."""
    for capability in range(64):
        _prctl(_PR_CAPBSET_DROP, capability)
    _prctl(_PR_NO_NEW_PRIVS, 1)
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _call("capset", head, (ctypes.c_uint32 * 6)())


def _unshare_problem() -> str:
    """Why namespaces do not work here, or "": a child of this process tries them."""
    if sys.platform != "linux":
        return "it needs Linux"
    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                home = Path(_unshare(folder))
                (home / "file").write_text("mine")
                seen = Path(sysconfig.get_path("purelib"), "torch").is_dir()
                os.write(write, b"ready" if seen else b"PyTorch cannot be seen there")
            except BaseException as problem:
                os.write(write, str(problem).encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(pid, 0)
        with os.fdopen(read, "rb") as answer:
            said = answer.read().decode()
    return "" if said == "ready" else said or "it ended without a word"


def _tried(kind: str) -> str:
    """Why a student's process does not work there, or "": one runs a cell."""
    with (
        tempfile.TemporaryDirectory(prefix="grading-") as folder,
        tempfile.TemporaryFile() as errors,
    ):
        try:
            channel, process = start(kind, 20, 100, folder, [], errors.fileno())
        except OSError as problem:
            return str(problem)
        try:
            cell = "import torch, pltutorial; open('file', 'w').write('mine')"
            channel.send({"do": "run", "code": cell, "state": []}, [])
            answer, _ = channel.receive(_TRIAL)
        except Silent:
            return f"nothing was heard in {_TRIAL} s"
        except ChannelError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.process.wait(10)
            errors.seek(0)
            return _last_line(errors.read().decode("utf-8", "replace"))
        finally:
            process.kill()
    problem = answer.get("problem")
    return f"{problem['kind']}: {problem['text']}" if problem else ""


def _last_line(said: str) -> str:
    """The line that tells what was wrong: not the one that tells where to read more."""
    lines = [line.strip() for line in said.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Run '", "See '"))]
    return (lines or ["it ended without a word"])[-1]


# --- other programs -------------------------------------------------------------------


def _command(
    kind: str, seconds: float, total: float, folder: str, name: str
) -> list[str]:
    """The command that begins a student's process; it speaks by stdin and stdout."""
    home = folder if kind == "none" else HOME
    python = [sys.executable, "-m", "worker.student", str(seconds), str(total), home]
    if kind == "container":
        return [*_container(name), *python]
    return [*_bubblewrap(), *python] if kind == "bubblewrap" else python


def _path_of_packages() -> str:
    return os.pathsep.join(["/grading", *_packages()])


def _bubblewrap() -> list[str]:
    words = [
        "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
    ]
    for path in _visible():
        words += ["--ro-bind", path, path]
    for path, real in _links().items():
        words += ["--symlink", real, path]
    words += ["--ro-bind", str(_WORKER), "/grading/worker", "--proc", "/proc"]
    for place in ("/tmp", HOME):
        words += [*_bubblewrap_size(), "--tmpfs", place]
    words += ["--dev", "/dev", "--remount-ro", "/dev", "--remount-ro", "/"]
    words += ["--setenv", "PYTHONPATH", _path_of_packages()]
    return [*words, "--setenv", "PATH", "/usr/bin:/bin", "--chdir", HOME]


@functools.cache
def _bubblewrap_size() -> list[str]:
    """How bwrap, from version 0.7 on, is told what a folder in memory may take."""
    said = subprocess.run(["bwrap", "--help"], capture_output=True, check=False)
    return ["--size", str(ROOM)] if b"--size" in said.stdout + said.stderr else []


def _bubblewrap_problem() -> str:
    if not shutil.which("bwrap"):
        return "there is no program bwrap"
    return _tried("bubblewrap")


def _engine() -> str:
    return next((name for name in ("podman", "docker") if shutil.which(name)), "")


def _container(name: str) -> list[str]:
    words = [_engine(), "run", "--rm", "--name", name, "--interactive"]
    words += ["--network", "none", "--read-only"]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    words += ["--memory", str(MEMORY), "--pids-limit", str(PROCESSES), "--cpus", "1"]
    words += ["--tmpfs", f"/tmp:size={ROOM}"]
    words += ["--tmpfs", f"{HOME}:size={ROOM},mode=1777"]
    words += ["--user", "1000:1000", "--workdir", HOME]
    for path, real in ({path: path for path in _visible()} | _links()).items():
        words += ["--volume", f"{real}:{path}:ro"]
    words += ["--volume", f"{_WORKER}:/grading/worker:ro"]
    words += ["--env", f"PYTHONPATH={_path_of_packages()}"]
    return [*words, os.environ.get("GRADING_IMAGE", IMAGE)]


def _container_problem() -> str:
    if not _engine():
        return "there is neither podman nor docker"
    if sys.platform != "linux" and "GRADING_IMAGE" not in os.environ:
        return (
            "set GRADING_IMAGE to an image that holds Python and "
            "this project's packages"
        )
    return _tried("container")
