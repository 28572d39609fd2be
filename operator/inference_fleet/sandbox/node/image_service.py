"""CRI's ImageService over names: what the catalog knows is there, anything else cannot be pulled."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import grpc

from inference_fleet.sandbox.node.grpc_services import Refused
from inference_fleet.sandbox.node.images import ImageCatalog, NotRunnable


@dataclass
class ImageService:
    """The images of one node; `messages` is the generated module, `folder` where images would lie."""

    messages: ModuleType
    catalog: ImageCatalog
    folder: str

    def image_status(self, request: Any) -> Any:
        if isinstance(self.catalog.find(request.image.image), NotRunnable):
            return self.messages.ImageStatusResponse()
        return self.messages.ImageStatusResponse(image=self._image(request.image.image))

    def pull_image(self, request: Any) -> Any:
        found = self.catalog.find(request.image.image)
        if isinstance(found, NotRunnable):
            raise Refused(grpc.StatusCode.NOT_FOUND, found.message)
        return self.messages.PullImageResponse(image_ref=found)

    def list_images(self, request: Any) -> Any:
        del request  # there is nothing for the kubelet to collect
        return self.messages.ListImagesResponse()

    def remove_image(self, request: Any) -> Any:
        del request
        return self.messages.RemoveImageResponse()

    def image_fs_info(self, request: Any) -> Any:
        del request
        usage = self.messages.FilesystemUsage(
            timestamp=time.time_ns(),
            fs_id=self.messages.FilesystemIdentifier(mountpoint=self.folder),
            used_bytes=self.messages.UInt64Value(value=0),
            inodes_used=self.messages.UInt64Value(value=0),
        )
        return self.messages.ImageFsInfoResponse(image_filesystems=[usage], container_filesystems=[usage])

    def _image(self, name: str) -> Any:
        return self.messages.Image(
            id=name,
            repo_tags=[name],
            size=1,
            uid=self.messages.Int64Value(value=self.catalog.user(name)),
            spec=self.messages.ImageSpec(image=name),
        )
