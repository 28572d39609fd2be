"""A checkpoint: where a model's weights come from, and what is known of their shape."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from inference_fleet.api.model_base import ApiModel
from inference_fleet.api.schema_rules import Rule, exactly_one_of

# A name as the API server takes it for most objects (RFC 1123 subdomain): it checks references in pods too.
SUBDOMAIN = r"[a-z0-9]+((\.|-+)[a-z0-9]+)*"
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=f"^{SUBDOMAIN}$")]
# What the API server takes for a key: not "..", nor anything that begins so.
SecretKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")]
# No part begins with a dot, so that no path leads out of its volume.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.@+=,:-]*"
RelativePath = Annotated[str, Field(min_length=1, max_length=512, pattern=rf"^{_PART}(/{_PART})*/?$")]


class SecretKeyReference(ApiModel):
    """One key of a Secret in the same namespace. The operator never reads it; the kubelet does."""

    name: Name = Field(description="Name of the Secret.")
    key: SecretKey = Field(description="Key in the Secret.")


class LocalReference(ApiModel):
    """The name of an object in the same namespace."""

    name: Name = Field(description="Name of the object.")


class HuggingFaceSource(ApiModel):
    """Weights from the Hugging Face Hub."""

    repository: Annotated[
        str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$")
    ] = Field(description="Repository on the Hub, as owner/name.")
    revision: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] | None = (
        Field(
            None,
            description="Commit, tag or branch. A commit hash pins the weights; a branch may change under a restart.",
        )
    )
    token_secret_ref: SecretKeyReference | None = Field(
        None, description="Token for gated or private repositories, given to the engine as HF_TOKEN."
    )


class PersistentVolumeClaimSource(ApiModel):
    """Weights that are on a volume already."""

    claim_name: Name = Field(description="PersistentVolumeClaim in the same namespace, mounted read-only.")
    path: RelativePath | None = Field(
        None, description="Folder of the checkpoint inside the volume, relative; the volume's root if absent."
    )


class ImageSource(ApiModel):
    """Weights in an OCI image, mounted as an image volume (Kubernetes 1.36 and a runtime that supports it)."""

    reference: Annotated[
        str, Field(min_length=1, max_length=512, pattern=r"^[a-z0-9][A-Za-z0-9._:/-]*@sha256:[a-f0-9]{64}$")
    ] = Field(description="Image reference with its digest.")
    path: RelativePath | None = Field(None, description="Folder of the checkpoint inside the image, relative.")


class S3Source(ApiModel):
    """Weights streamed from object storage (load format runai_streamer)."""

    uri: Annotated[str, Field(min_length=6, max_length=512, pattern=rf"^s3://[a-z0-9][a-z0-9.-]*(/{_PART})*/?$")] = (
        Field(description="s3://bucket/path of the checkpoint's folder.")
    )
    credentials_secret_ref: LocalReference | None = Field(
        None,
        description="Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL if needed.",
    )


class ModelShape(ApiModel):
    """Facts about a model for the memory check, named as in its config.json, in camelCase. All optional."""

    rules: ClassVar = (
        Rule(
            "!has(self.numKeyValueHeads) || !has(self.numAttentionHeads) ||"
            " self.numKeyValueHeads <= self.numAttentionHeads",
            "numKeyValueHeads must not exceed numAttentionHeads",
            lambda s: (
                s.num_key_value_heads is None
                or s.num_attention_heads is None
                or s.num_key_value_heads <= s.num_attention_heads
            ),
            field="numKeyValueHeads",
        ),
        Rule(
            "!has(self.numExpertsPerTok) || !has(self.numLocalExperts) ||"
            " self.numExpertsPerTok <= self.numLocalExperts",
            "numExpertsPerTok must not exceed numLocalExperts",
            lambda s: (
                s.num_experts_per_tok is None
                or s.num_local_experts is None
                or s.num_experts_per_tok <= s.num_local_experts
            ),
            field="numExpertsPerTok",
        ),
    )

    architecture: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="First entry of `architectures` in config.json."
    )
    num_hidden_layers: Annotated[int, Field(ge=1, le=1000)] | None = Field(None, description="Number of layers.")
    hidden_size: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Width of the residual stream."
    )
    intermediate_size: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(None, description="Width of the MLP.")
    num_attention_heads: Annotated[int, Field(ge=1, le=10_000)] | None = Field(None, description="Query heads.")
    num_key_value_heads: Annotated[int, Field(ge=1, le=10_000)] | None = Field(None, description="Key and value heads.")
    head_dim: Annotated[int, Field(ge=1, le=10_000)] | None = Field(None, description="Width of a head.")
    vocab_size: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(None, description="Size of the vocabulary.")
    max_position_embeddings: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        None, description="Longest context that the model supports, tokens."
    )
    parameters: Annotated[int, Field(ge=1, le=100_000_000_000_000)] | None = Field(
        None, description="Number of parameters, all experts included."
    )
    weights_bytes: Annotated[int, Field(ge=1, le=100_000_000_000_000)] | None = Field(
        None, description="Size of the weight files (total_size of model.safetensors.index.json), bytes."
    )
    torch_dtype: Annotated[str, Field(max_length=32)] | None = Field(
        None, description="Type the weights are stored in."
    )
    quantization_method: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="`quant_method` of the checkpoint's own quantization_config."
    )
    tie_word_embeddings: bool | None = Field(None, description="Whether input and output embeddings are one matrix.")
    kv_lora_rank: Annotated[int, Field(ge=1, le=100_000)] | None = Field(None, description="Latent attention: rank.")
    qk_rope_head_dim: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None, description="Latent attention: rotary width."
    )
    num_local_experts: Annotated[int, Field(ge=1, le=100_000)] | None = Field(None, description="Experts per layer.")
    num_experts_per_tok: Annotated[int, Field(ge=1, le=100_000)] | None = Field(None, description="Experts per token.")
    sliding_window: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        None, description="Attention window of the layers that have one, tokens."
    )


class CacheClaim(ApiModel):
    """A volume for downloaded weights."""

    claim_name: Name = Field(
        description="PersistentVolumeClaim in the same namespace that all pods may mount for writing."
    )


class WeightsCache(ApiModel):
    """Where downloaded weights stay between pods. A union with one member for now."""

    persistent_volume_claim: CacheClaim = Field(description="A claim that all pods may mount (ReadWriteMany).")


_SOURCES = ("huggingFace", "persistentVolumeClaim", "image", "s3")


class Checkpoint(ApiModel):
    """A model's weights: exactly one source."""

    rules: ClassVar = (
        exactly_one_of(
            *_SOURCES,
            attributes=("hugging_face", "persistent_volume_claim", "image", "s3"),
            message="exactly one of huggingFace, persistentVolumeClaim, image, s3 must be set",
        ),
    )

    hugging_face: HuggingFaceSource | None = Field(None, description="Weights from the Hugging Face Hub.")
    persistent_volume_claim: PersistentVolumeClaimSource | None = Field(
        None, description="Weights that are on a volume already."
    )
    image: ImageSource | None = Field(
        None, description="Weights in an OCI image, mounted as an image volume (Kubernetes 1.36 and newer)."
    )
    s3: S3Source | None = Field(None, description="Weights streamed from object storage.")
    shape: ModelShape | None = Field(
        None, description="The model's shape, for the memory check of models that the built-in catalogue does not know."
    )
    cache: WeightsCache | None = Field(
        None, description="Where downloaded weights are kept; without it each pod downloads them."
    )

    @property
    def source(self) -> Literal["huggingFace", "persistentVolumeClaim", "image", "s3", "none"]:
        """Which member of the union is set."""
        if self.hugging_face:
            return "huggingFace"
        if self.persistent_volume_claim:
            return "persistentVolumeClaim"
        if self.image:
            return "image"
        return "s3" if self.s3 else "none"

    @property
    def display_name(self) -> str:
        """What people call it: the last part of its source."""
        if self.hugging_face:
            return self.hugging_face.repository.rsplit("/", 1)[-1]
        if self.persistent_volume_claim:
            claim = self.persistent_volume_claim
            return (claim.path or claim.claim_name).rstrip("/").rsplit("/", 1)[-1]
        if self.image:
            return self.image.reference.split("@", 1)[0].rsplit("/", 1)[-1]
        return self.s3.uri.rstrip("/").rsplit("/", 1)[-1] if self.s3 else ""
