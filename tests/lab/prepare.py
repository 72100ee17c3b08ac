"""What the hosts of a lab are made of, their image and their Salt, made at the same time."""

import os
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait
from pathlib import Path
from typing import Any

from . import image
from . import state
from .process import children
from .process import kill_tree
from .progress import Tell
from .progress import Together
from .releases import RELEASES
from .saltenv import SaltEnvironment
from .saltenv import salt_environment
from .spec import LabSpec


def prepare(spec: LabSpec, tell: Tell) -> tuple[tuple[Path, ...], SaltEnvironment | None]:
    """The layers of the hosts' disks and their Salt; makes what is missing.

    :param tell: told what is being done, from other threads.
    :raises CommandError: a step failed.
    """
    in_use = state.in_use()
    release = RELEASES[spec.release]
    together = Together(tell)

    def layers() -> tuple[Path, ...]:
        part = together.part(f"image of Debian {spec.release}")
        return image.layers(release, preinstalled=spec.preinstalled, in_use=in_use, tell=part)

    def salt() -> SaltEnvironment | None:
        if spec.salt is None:
            return None
        part = together.part(f"Salt {spec.salt}")
        return salt_environment(spec.salt, old_libc=release.old_libc, in_use=in_use, tell=part)

    made = at_the_same_time(layers, salt)
    return made[0], made[1]


def at_the_same_time(*makers: Callable[[], Any]) -> list[Any]:
    """Call all of them. When one fails, the programs that the others run are ended."""
    others = set(children(os.getpid()))
    with ThreadPoolExecutor(len(makers)) as pool:
        futures: list[Future[Any]] = [pool.submit(maker) for maker in makers]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done():
                    future.result()
            return [future.result() for future in futures]
        except BaseException:
            while wait(futures, timeout=0.2).not_done:
                for pid in set(children(os.getpid())) - others:
                    kill_tree(pid)
            raise
