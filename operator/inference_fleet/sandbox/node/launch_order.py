"""From CRI's description of a container to the order for its launcher."""

from __future__ import annotations

import os
from typing import Any

from inference_fleet.sandbox.node.container import PodSandbox
from inference_fleet.sandbox.node.images import ImageCatalog, NotRunnable, Program
from inference_fleet.sandbox.node.launcher import CONTAINER_HOME, LaunchOrder, VolumeMount
from inference_fleet.sandbox.node.resolver_file import RESOLVER_FILE

_UNREPORTED = -1  # the report's descriptor is made at the launch


def launch_order(sandbox: PodSandbox, config: Any, *, catalog: ImageCatalog, root: str) -> LaunchOrder | NotRunnable:
    """The order for a container of the sandbox; `config` is CRI's ContainerConfig, `root` an empty folder."""
    program = catalog.program(config.image.image, command=tuple(config.command), args=tuple(config.args))
    if isinstance(program, NotRunnable):
        return program
    volumes = _volumes(sandbox, config, catalog=catalog)
    if isinstance(volumes, NotRunnable):
        return volumes
    security = config.linux.security_context
    return LaunchOrder(
        argv=program.argv,
        environment=container_environment(sandbox, config, program=program),
        folder=config.working_dir,
        host_name=sandbox.config.hostname,
        root=root,
        read_only_root=security.readonly_rootfs,
        user=_user(config, catalog=catalog),
        group=security.run_as_group.value,
        volumes=volumes,
        kept=catalog.folders(),
        network=sandbox.link.descriptor if sandbox.link else None,
        report=_UNREPORTED,
    )


def container_environment(sandbox: PodSandbox, config: Any, *, program: Program) -> dict[str, str]:
    """What the process finds: a container's usual variables, then the image's, then the pod's."""
    given = {variable.key: os.fsdecode(variable.value) for variable in config.envs}
    usual = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": CONTAINER_HOME,
        "HOSTNAME": sandbox.config.hostname,
        "PYTHONDONTWRITEBYTECODE": "1",  # nowhere to write it
        # Python buffers a pipe's lines for long; a log should show them.
        "PYTHONUNBUFFERED": "1",
    }
    return {**usual, **program.environment, **given}


def _volumes(sandbox: PodSandbox, config: Any, *, catalog: ImageCatalog) -> tuple[VolumeMount, ...] | NotRunnable:
    volumes = []
    for mount in config.mounts:
        source, read_only = mount.host_path, mount.readonly
        if mount.image.image:
            found = catalog.volume(mount.image.image, path=mount.image_sub_path)
            if isinstance(found, NotRunnable):
                return found
            source, read_only = str(found), True
        volumes.append(VolumeMount(source, mount.container_path, read_only=read_only))
    if sandbox.resolver_file and RESOLVER_FILE not in (volume.target for volume in volumes):
        volumes.append(VolumeMount(str(sandbox.resolver_file), RESOLVER_FILE, read_only=False))
    return tuple(volumes)


def _user(config: Any, *, catalog: ImageCatalog) -> int:
    security = config.linux.security_context
    if security.HasField("run_as_user"):
        return int(security.run_as_user.value)
    return catalog.user(config.image.image)
