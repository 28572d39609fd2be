"""Everything about the operator that can be set: `--name` on the command line, `INFERENCE_FLEET_NAME` outside."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The operator's settings. Every field becomes an option of `inference-fleet run`."""

    model_config = SettingsConfigDict(env_prefix="INFERENCE_FLEET_", frozen=True, extra="forbid")

    prometheus_url: str = Field(
        default="http://prometheus-operated.monitoring.svc:9090",
        description="Prometheus that scrapes the engines.",
    )
    prometheus_ca_file: str | None = Field(default=None, description="Certificate authority of Prometheus.")
    prometheus_token_file: str | None = Field(
        default=None, description="File with a bearer token for Prometheus; read anew for every question."
    )
    namespaces: str = Field(
        default="", description="Namespaces to work in, separated by commas; all of the cluster if empty."
    )
    kubeconfig: str | None = Field(
        default=None, description="Kubeconfig to use; without one the pod's own account, else the user's kubeconfig."
    )
    host: str = Field(default="0.0.0.0", description="Address of /healthz, /readyz and /metrics.")  # noqa: S104
    port: int = Field(default=8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics.")
    lease: bool = Field(
        default=True, description="Take the Lease before writing. Switch it off only where one process can ever run."
    )
    lease_namespace: str = Field(
        default="", description="Namespace of the Lease; the pod's own if empty, else inference-fleet-system."
    )
    identity: str = Field(default="", description="Name of this process in the Lease; the host's name if empty.")
    log_format: Literal["console", "json"] = Field(default="json", description="How log lines look.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="What is logged.")
    tick_seconds: float = Field(
        default=15.0, ge=1.0, le=60.0, description="How often Prometheus is asked and replicas are decided."
    )
    resync_seconds: float = Field(default=300.0, ge=5.0, le=3600.0, description="How often everything is listed anew.")
    workers: int = Field(default=16, ge=1, le=256, description="Objects that are worked on at the same time.")

    @field_validator("prometheus_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        if "@" in value:
            # The address is told in conditions and logs.
            raise ValueError("must not hold a user or a password: use prometheus_token_file")
        return value.rstrip("/")

    @property
    def namespace_names(self) -> tuple[str, ...]:
        """The namespaces, empty for all."""
        return tuple(name.strip() for name in self.namespaces.split(",") if name.strip())
