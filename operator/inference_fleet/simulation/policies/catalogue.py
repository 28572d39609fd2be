"""All policies by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from inference_fleet.simulation.policies.aibrix import AIBRIX_APA
from inference_fleet.simulation.policies.dynamo import DYNAMO_PLANNER
from inference_fleet.simulation.policies.hpa import HPA_CONCURRENCY, KEDA_QUEUE
from inference_fleet.simulation.policies.knative import KNATIVE_KPA
from inference_fleet.simulation.policies.llm_d import LLM_D_SLO_AWARE
from inference_fleet.simulation.policies.llm_d_tokens import LLM_D_TOKEN_AWARE
from inference_fleet.simulation.policies.llm_d_wva import WVA_V2
from inference_fleet.simulation.policies.own import OWN
from inference_fleet.simulation.policies.policy import PolicyKind
from inference_fleet.simulation.policies.static import STATIC

POLICIES: Mapping[str, PolicyKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            OWN,
            STATIC,
            HPA_CONCURRENCY,
            KEDA_QUEUE,
            KNATIVE_KPA,
            AIBRIX_APA,
            LLM_D_SLO_AWARE,
            LLM_D_TOKEN_AWARE,
            WVA_V2,
            DYNAMO_PLANNER,
        )
    }
)
TUNED_SUFFIX = "-tuned"
