"""Trains, tests and evaluates in a Python whose ``os``, ``signal``, ``mmap`` … have only what Windows has, too.

Run in a process of its own, by tests/test_portable.py: ``python -m tests.without_posix FOLDER``. Packages that gaitext
needs are imported first: they have code of their own for Windows, chosen when they are imported.
"""

from __future__ import annotations

import importlib
import mmap
import multiprocessing
import os
import signal
import sys
import types
import warnings
from pathlib import Path

#: Of the standard library, "Availability: Unix".
MODULES = ("crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty")
OS = (
    *("EX_OK", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "WNOHANG", "chown", "chroot"),
    *("confstr", "ctermid", "eventfd", "fchown", "fdatasync", "fork", "forkpty", "fwalk", "getegid", "geteuid"),
    *("getgid", "getgrouplist", "getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority", "getresuid", "getsid"),
    *("getuid", "getxattr", "initgroups", "killpg", "lchown", "listxattr", "lockf", "login_tty", "major", "makedev"),
    *("memfd_create", "minor", "mkfifo", "mknod", "nice", "openpty", "pathconf", "pipe2", "posix_fadvise"),
    *("posix_fallocate", "posix_spawn", "pread", "preadv", "pwrite", "pwritev", "readv", "register_at_fork"),
    *("sched_getaffinity", "sched_setaffinity", "sched_yield", "sendfile", "setegid", "seteuid", "setgid", "setpgid"),
    *("setpriority", "setsid", "setuid", "setxattr", "splice", "statvfs", "sync", "sysconf", "tcgetpgrp", "ttyname"),
    *("uname", "wait", "wait3", "wait4", "waitid", "writev"),
)
SIGNAL = (
    *("SIGALRM", "SIGBUS", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGUSR1", "SIGUSR2"),
    *("SIG_BLOCK", "SIG_SETMASK", "SIG_UNBLOCK", "alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer"),
    *("siginterrupt", "sigpending", "sigtimedwait", "sigwait", "sigwaitinfo"),
)
#: What training, testing and evaluating import of other projects, and what the library itself has for each system.
LIBRARIES = (
    *(("multiprocessing.popen_spawn_posix", "multiprocessing.resource_tracker") if os.name == "posix" else ()),
    *("av", "filelock", "lightning.fabric", "numpy", "pydantic", "rich.progress", "ruamel.yaml", "safetensors"),
    *("scipy", "torch.distributed", "torch.utils.data", "torch.utils.tensorboard", "torchmetrics", "typer", "yaml"),
)


def without(module: types.ModuleType, names: tuple[str, ...]) -> types.ModuleType:
    """A copy of a module that lacks some names."""
    copy = types.ModuleType(module.__name__, module.__doc__)
    copy.__dict__.update({name: value for name, value in vars(module).items() if name not in names})
    return copy


def main(folder: Path) -> None:
    for library in LIBRARIES:
        importlib.import_module(library)
    assert "gaitext" not in sys.modules
    multiprocessing.set_start_method("spawn")  # nothing can be forked: what loaders' workers get is pickled
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it raises
    maps = tuple(name for name in vars(mmap) if name.startswith(("MADV_", "MAP_", "PROT_")))
    for module, names in ((os, OS), (signal, SIGNAL), (mmap, maps)):
        sys.modules[module.__name__] = without(module, names)
    # Windows' own encoding is not UTF-8: whoever opens text has to say which it is in (-X warn_default_encoding).
    warnings.filterwarnings("error", category=EncodingWarning, module="gaitext")

    from gaitext.cli import main as gaitext

    def run(*words: object) -> None:
        sys.argv = ["gaitext", *map(str, words)]
        try:
            gaitext()
        except SystemExit as end:
            if end.code:
                raise

    import yaml

    run(
        *("walkers", folder / "walkers", "--identities", 4, "--train-identities", 2, "--frames", 4),
        *("--types", "nm-01,nm-05", "--views", "000,090", "--workers", 1, "-q"),
    )
    run("convert", folder / "walkers/sequences", folder / "compact", "--form", "compact", "--workers", 1, "-q")
    run("config", "show", "rg-gait/tiny_oem")  # with letters that are not in every encoding
    run("config", "copy", folder, "gaitheat/tiny")
    path = folder / "gaitheat/tiny.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["data_cfg"].update(
        dataset_root=str(folder / "compact"), dataset_partition=str(folder / "walkers/partition.json"), num_workers=1
    )
    config["model_cfg"].update(class_num=2, channels=[2, 2, 4, 4], embedding_size=4)
    config["trainer_cfg"].update(total_iter=2, save_iter=1, log_iter=1)
    config["trainer_cfg"]["sampler"].update(batch_size=[2, 2])
    config["evaluator_cfg"]["restore_hint"] = 2
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    output = ("--output", folder / "output", "--device", "cpu", "-q")
    run("train", path, *output)
    run("test", path, "--save-embeddings", folder / "embeddings.npz", *output)
    run("evaluate", folder / "embeddings.npz")
    import gaitext.store.compact as compact

    assert not hasattr(compact.os, "pread")
    assert compact._files, "no compact sequence was read"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
