"""From a plain object to a gRPC service: a method `run_pod_sandbox(request) -> response` answers RunPodSandbox.

What the object lacks is answered with UNIMPLEMENTED. Works from the descriptors of the generated messages alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import message_factory


class Refused(Exception):
    """The call's answer is an error."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def not_found(kind: str, *, identifier: str) -> Refused:
    """The answer for an object that is not there (any more)."""
    return Refused(grpc.StatusCode.NOT_FOUND, f"no {kind} {identifier}")


def service_handler(descriptor: Any, implementation: object) -> Any:
    """The handler, for `server.add_generic_rpc_handlers`, of the service that the descriptor describes."""
    handlers = {}
    for method in descriptor.methods:
        answer = getattr(implementation, _snake_case(method.name), None)
        if answer is not None:
            handlers[method.name] = _method_handler(method, answer=answer)
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)


def _method_handler(method: Any, *, answer: Callable[[Any], Any]) -> Any:
    def one(request: Any, context: Any) -> Any:
        try:
            return answer(request)
        except Refused as refusal:
            context.abort(refusal.code, str(refusal))

    def many(request: Any, context: Any) -> Any:
        del context
        yield from answer(request)

    codec = {
        "request_deserializer": message_factory.GetMessageClass(method.input_type).FromString,
        "response_serializer": message_factory.GetMessageClass(method.output_type).SerializeToString,
    }
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(many, **codec)
    return grpc.unary_unary_rpc_method_handler(one, **codec)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
