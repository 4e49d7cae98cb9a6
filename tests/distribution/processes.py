"""Running several programs at once, on ports that are free."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def free_hosts(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    hosts = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return hosts


def addresses(hosts: list[str], index: int) -> list[str]:
    """The flags of one of several workers of the training program."""
    return [
        "--distribution_strategy=multi_worker_mirrored",
        f"--worker_hosts={','.join(hosts)}",
        f"--task_index={index}",
    ]


def python(
    *arguments: str, stderr: int = subprocess.PIPE, **environment: str
) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def four_jax_devices(*arguments: str) -> subprocess.Popen:
    """Like `python`, with Keras on JAX, which sees four devices of one CPU."""
    # Compiling takes most of the time of so small trainings.
    quickly = "--xla_backend_optimization_level=0"
    return python(
        *arguments,
        KERAS_BACKEND="jax",
        JAX_PLATFORMS="cpu",
        XLA_FLAGS=f"--xla_force_host_platform_device_count=4 {quickly}",
    )


def finish(process: subprocess.Popen) -> str:
    out, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors[-3000:]
    return out


def all_workers(count: int, start: Callable[[list[str], int], subprocess.Popen]):
    """What each of so many workers printed, which know each other's addresses."""
    hosts = free_hosts(count)
    processes = [start(hosts, index) for index in range(count)]
    try:
        return [finish(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
