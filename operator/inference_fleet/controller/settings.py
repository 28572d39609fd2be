"""Everything about the operator that can be set: `--name` on the command line, `INFERENCE_FLEET_NAME` outside."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The operator's settings. Every field becomes an option of `inference-fleet run`."""

    model_config = SettingsConfigDict(env_prefix="INFERENCE_FLEET_", frozen=True, extra="forbid")

    prometheus_url: str = Field(
        default="http://prometheus-operated.monitoring.svc:9090",
        description="URL of the Prometheus that scrapes the engines.",
    )
    prometheus_ca_file: str | None = Field(
        default=None, description="File with the certificate authority of Prometheus."
    )
    prometheus_token_file: str | None = Field(
        default=None, description="File with a bearer token for Prometheus; it is read for every query."
    )
    arrivals_query: str | None = Field(
        default=None,
        max_length=2000,
        description="PromQL of a gateway's counter of requests, with the labels namespace and inference_deployment."
        " By default arrivals follow from the engines' own counters.",
    )
    prometheus_user: str | None = Field(
        default=None, pattern=r"^[!-9;-~]{1,128}$", description="User for Prometheus, with prometheus_password_file."
    )
    prometheus_password_file: str | None = Field(
        default=None, description="File with the password of prometheus_user; it is read for every query."
    )
    prometheus_tenant: str | None = Field(
        default=None, pattern=r"^[!-~]{1,150}$", description="Tenant to query, of Mimir, Cortex or Thanos."
    )
    prometheus_tenant_header: str = Field(
        default="X-Scope-OrgID",
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="Header that names the tenant; Thanos reads THANOS-TENANT.",
    )
    namespaces: str = Field(
        default="", description="Namespaces to work in, separated by commas. All namespaces if empty."
    )
    kubeconfig: str | None = Field(
        default=None,
        description="Kubeconfig file. By default the pod's service account, or outside a pod the user's kubeconfig.",
    )
    host: str = Field(default="0.0.0.0", description="Address on which /healthz, /readyz and /metrics are served.")  # noqa: S104
    port: int = Field(default=8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics.")
    lease: bool = Field(
        default=True,
        description="Take the Lease before writing. Switch it off only if there is never more than one process.",
    )
    lease_namespace: str = Field(
        default="",
        description="Namespace of the Lease. If empty, the pod's own, or outside a pod inference-fleet-system.",
    )
    identity: str = Field(default="", description="Name of this process in the Lease. The host name if empty.")
    log_format: Literal["console", "json"] = Field(default="json", description="Format of the log.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged."
    )
    tick_seconds: float = Field(
        default=15.0, ge=1.0, le=60.0, description="How often Prometheus is queried and replicas are decided, seconds."
    )
    resync_seconds: float = Field(
        default=300.0, ge=5.0, le=3600.0, description="How often all objects are listed again, seconds."
    )
    workers: int = Field(
        default=16, ge=1, le=256, description="Number of objects that are reconciled at the same time."
    )

    @field_validator("prometheus_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        if "@" in value:
            # The address is told in conditions and logs.
            raise ValueError(
                "must not hold a user or a password: use prometheus_token_file, or prometheus_user and its file"
            )
        return value.rstrip("/")

    @model_validator(mode="after")
    def _has_one_login(self) -> Self:
        if (self.prometheus_user is None) != (self.prometheus_password_file is None):
            raise ValueError("--prometheus-user and --prometheus-password-file belong together")
        if self.prometheus_user is not None and self.prometheus_token_file is not None:
            raise ValueError("--prometheus-token-file and --prometheus-user exclude each other")
        return self

    @property
    def namespace_names(self) -> tuple[str, ...]:
        """The namespaces, empty for all."""
        return tuple(name.strip() for name in self.namespaces.split(",") if name.strip())
