"""The programs a sandbox is made of: found on this machine, fetched, or built from source, into the user's cache."""

from inference_fleet.sandbox.tools.catalog import DEFAULT_KUBERNETES_VERSION, KUBERNETES_VERSIONS
from inference_fleet.sandbox.tools.lookup import tool_names, tool_path
from inference_fleet.sandbox.tools.outcome import NotHere, ToolUnavailable
from inference_fleet.sandbox.tools.progress import Progress, shown, silent

__all__ = (
    "DEFAULT_KUBERNETES_VERSION",
    "KUBERNETES_VERSIONS",
    "NotHere",
    "Progress",
    "ToolUnavailable",
    "shown",
    "silent",
    "tool_names",
    "tool_path",
)
