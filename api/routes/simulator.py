"""An emulation of O-RAN's A1 simulator (STD_2.0.0): its admin routes and its own response bodies.

It stands beside the conformant interface and takes its place under /A1-P/v2 while it is on; it controls no network.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import PlainTextResponse, Response

from api.bodies import JsonResponse
from api.context import Context, InContext
from api.errors import RequestRefused
from api.notifications import Notifier, check_destination
from api.problems import MEDIA_TYPE
from api.simulator_state import SimulatorState

_INTERFACES = (
    "Current interface: STD_2.0.0 All supported A1 interface yamls in this container: "
    "['OSC_2.1.0', 'STD_1.1.3', 'STD_2.0.0']"
)
_NO_ROOM = (
    "The method could not be performed on the resource because the provider is unable to store the representation "
    "needed to successfully complete the request"
)
_FORCED = {
    400: ("Bad request", "Object in payload not properly formulated or not related to the method"),
    404: ("Not found", "No resource found at the URI"),
    405: ("Method not allowed", "Method not allowed for the URI"),
    409: ("Conflict", "Request could not be processed in the current state of the resource"),
    419: ("Callout failed", "Callout hooks could not be processed on the external server"),
    429: ("Too many requests", "Too many requests have been sent in a given amount of time"),
    503: ("Service unavailable", "The provider is currently unable to handle the request due to a temporary overload"),
    507: ("Insufficient storage", _NO_ROOM),
}
_MAX_DELAY_S = 30
_POLICY = "/A1-P/v2/policytypes/{type_id}/policies/{policy_id}"

Text = PlainTextResponse
Id = Annotated[str | None, Query(alias="id", max_length=128)]
PathId = Annotated[str, Path(max_length=128)]


def build_simulator() -> APIRouter:
    """The simulator's routes over a state of their own."""
    router = APIRouter(include_in_schema=False)
    state = SimulatorState()
    admin, types, policies = _Admin(state), _Types(state), _Policies(state)
    for method, path, endpoint in (
        ("GET", "/", admin.alive),
        ("GET", "/container_interfaces", admin.interfaces),
        ("POST", "/deleteinstances", admin.delete_instances),
        ("POST", "/deleteall", admin.delete_all),
        ("GET", "/counter/{name}", admin.counter),
        ("POST", "/forceresponse", admin.force_response),
        ("POST", "/forcedelay", admin.force_delay),
        ("POST", "/datadelivery", admin.deliver),
        ("PUT", "/status", admin.set_status),
        ("POST", "/sendstatus", admin.send_status),
        ("PUT", "/policytype", types.put_type),
        ("DELETE", "/policytype", types.delete_type),
        ("GET", "/A1-P/v2/policytypes", types.list_types),
        ("GET", "/A1-P/v2/policytypes/{type_id}", types.read_type),
        ("GET", "/A1-P/v2/policytypes/{type_id}/policies", types.list_policies),
        ("PUT", _POLICY, policies.put_policy),
        ("GET", _POLICY, policies.read_policy),
        ("DELETE", _POLICY, policies.delete_policy),
        ("GET", _POLICY + "/status", policies.read_status),
    ):
        router.add_api_route(path, endpoint, methods=[method])
    return router


class _Admin:
    """The simulator's own switches and counters."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def alive(self) -> Response:
        return Text("OK")

    async def interfaces(self) -> Response:
        return Text(_INTERFACES)

    async def delete_instances(self) -> Response:
        self._state.delete_instances()
        return Text("All policy instances deleted")

    async def delete_all(self) -> Response:
        self._state.delete_all()
        return Text("All policy instances and types deleted")

    async def counter(self, name: PathId) -> Response:
        counters = self._state.counters()
        if name not in counters:
            return Text(f"Counter name: {name} not found.", 404)
        return Text(counters[name])

    async def force_response(self, code: Annotated[int | None, Query(ge=200, le=599)] = None) -> Response:
        self._state.forced_code = code
        return Text(f"Force response code: {code} set for one single A1 response")

    async def force_delay(self, delay: Annotated[int | None, Query(ge=0, le=_MAX_DELAY_S)] = None) -> Response:
        self._state.delay_s = delay
        return Text(f"Force delay: {delay} sec set for all A1 responses")

    async def deliver(self, request: Request) -> Response:
        if _parsed(await request.body()) is None:
            return Text("The data is corrupt or missing.", 400)
        self._state.num_deliveries += 1
        return Text("")

    async def set_status(
        self, policyid: str | None = None, status: str | None = None, reason: str | None = None
    ) -> Response:
        return _set_status(self._state, policyid, status, reason)

    async def send_status(self, ctx: InContext, policyid: str | None = None) -> Response:
        if policyid is None:
            return Text("Parameter <policyid> missing in request", 400)
        if policyid not in self._state.statuses:
            return Text(f"Policyid: {policyid} not found.", 404)
        destination = self._state.callbacks.get(policyid) or ""
        try:
            check_destination(destination, ctx.settings)
        except RequestRefused:
            return Text(f"Post status failed, could not send to: {destination}", 502)
        if not destination or await _post(ctx, destination, self._state.statuses[policyid]) != "delivered":
            return Text(f"Post status failed, could not send to: {destination}", 502)
        return JsonResponse(json.dumps(self._state.statuses[policyid]))


class _Types:
    """Policy types, put by the test script."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def put_type(self, request: Request, type_id: Id = None) -> Response:
        if type_id is None:
            return Text("Parameter <id> missing in request", 400)
        document = _parsed(await request.body())
        if not isinstance(document, dict):
            return Text("The policy type is corrupt or missing", 400)
        if "policySchema" not in document:
            return Text("The policy type atribute policySchema is missing", 400)
        if self._state.instances.get(type_id):
            return Text("The policy type already exists and instances exists", 400)
        if type_id not in self._state.types and self._state.is_full_of_types:
            return _forced_problem(507)
        return Text(f"Policy type {type_id} is OK.", 201 if self._state.put_type(type_id, document) else 200)

    async def delete_type(self, type_id: Id = None) -> Response:
        if type_id is None:
            return Text("Parameter <id> missing in request", 400)
        if self._state.instances.get(type_id):
            return Text("The policy type already exists and instances exists", 400)
        self._state.delete_type(type_id)
        return Response(status_code=204)

    async def list_types(self, request: Request) -> Response:
        return await _modified(self._state, request) or JsonResponse(json.dumps(list(self._state.types)))

    async def read_type(self, type_id: PathId, request: Request) -> Response:
        forced = await _modified(self._state, request)
        if forced is not None:
            return forced
        if type_id not in self._state.types:
            return _problem("The policy type does not exist.", 404, type_id)
        return JsonResponse(json.dumps(self._state.types[type_id]))

    async def list_policies(self, type_id: PathId, request: Request) -> Response:
        forced = await _modified(self._state, request)
        if forced is not None:
            return forced
        if type_id not in self._state.types:
            return _problem("The policy type does not exist.", 404, type_id)
        return JsonResponse(json.dumps(list(self._state.instances[type_id])))


class _Policies:
    """Policies under A1-P, answered as the simulator answers."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    async def put_policy(
        self,
        type_id: PathId,
        policy_id: PathId,
        request: Request,
        destination: Annotated[str | None, Query(alias="notificationDestination", max_length=2000)] = None,
    ) -> Response:
        forced = await _modified(self._state, request)
        if forced is not None:
            return forced
        body = _parsed(await request.body())
        refusal = _refusal(self._state, type_id, policy_id, body)
        if refusal is not None:
            return refusal
        if self._state.put(type_id, policy_id, body, destination):
            location = _POLICY.format(type_id=type_id, policy_id=policy_id)
            return JsonResponse(json.dumps(body), status_code=201, headers={"Location": location})
        return JsonResponse(json.dumps(body))

    async def read_policy(self, type_id: PathId, policy_id: PathId, request: Request) -> Response:
        return await _missing(self._state, request, type_id, policy_id) or JsonResponse(
            json.dumps(self._state.instances[type_id][policy_id])
        )

    async def delete_policy(self, type_id: PathId, policy_id: PathId, request: Request) -> Response:
        missing = await _missing(self._state, request, type_id, policy_id)
        if missing is not None:
            return missing
        self._state.delete(type_id, policy_id)
        return Response(status_code=204)

    async def read_status(self, type_id: PathId, policy_id: PathId, request: Request) -> Response:
        return await _missing(self._state, request, type_id, policy_id) or JsonResponse(
            json.dumps(self._state.statuses[policy_id])
        )


async def _modified(state: SimulatorState, request: Request) -> Response | None:
    """The forced answer, after the forced delay; None where nothing is forced."""
    if request.client is not None:
        state.hosts.add(request.client.host)
    if state.delay_s:
        await asyncio.sleep(state.delay_s)
    code, state.forced_code = state.forced_code, None
    return None if code is None else _forced_problem(code)


async def _missing(state: SimulatorState, request: Request, type_id: str, policy_id: str) -> Response | None:
    forced = await _modified(state, request)
    if forced is not None:
        return forced
    if type_id not in state.types:
        return _problem("The policy type does not exist.", 404, policy_id)
    if policy_id not in state.instances[type_id]:
        return _problem("The requested policy does not exist.", 404, policy_id)
    return None


def _refusal(state: SimulatorState, type_id: str, policy_id: str, body: Any) -> Response | None:
    """Why a policy can't be put; None where it can."""
    if type_id not in state.types:
        return _problem("The policy type does not exist.", 404, policy_id)
    if body is None:
        return _problem("The policy is corrupt or missing.", 400, policy_id)
    if not _fits(body, state.types[type_id].get("policySchema")):
        return Response(status_code=400)
    if state.type_of.get(policy_id, type_id) != type_id:
        return _problem("The policy id already exist for other policy type.", 400, policy_id)
    if policy_id not in state.type_of and state.is_full:
        return _forced_problem(507)
    return None


def _set_status(state: SimulatorState, policy_id: str | None, status: str | None, reason: str | None) -> Response:
    if policy_id is None:
        return Text("Parameter <policyid> missing in request", 400)
    if policy_id not in state.statuses:
        return Text(f"Policyid: {policy_id} not found.", 404)
    if status is None:
        return Text("Parameter <status> missing in request", 400)
    state.statuses[policy_id] = {"enforceStatus": status}
    message = f"Status set to {status}"
    if reason is not None:
        state.statuses[policy_id]["enforceReason"] = reason
        message += f" and {reason}"
    return Text(f"{message} for policy: {policy_id}")


async def _post(ctx: Context, destination: str, document: dict[str, str]) -> str:
    import httpx

    try:
        return await Notifier(ctx.settings, ctx.metrics).send(destination, document)
    except (OSError, httpx.HTTPError):
        return "failed"


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _fits(body: Any, schema: Any) -> bool:
    try:
        return _is_shaped_as(body, schema)
    except RecursionError:
        return False


def _is_shaped_as(body: Any, schema: Any) -> bool:
    """Whether the body has the schema's required members and no others, where the schema says so."""
    if not isinstance(schema, dict) or not isinstance(body, dict):
        return isinstance(body, dict) or schema is None
    required, properties = schema.get("required"), schema.get("properties")
    required = required if isinstance(required, list) else []
    properties = properties if isinstance(properties, dict) else {}
    if any(name not in body for name in required if isinstance(name, str)):
        return False
    is_closed = schema.get("additionalProperties") is False
    if is_closed and any(name not in properties for name in body):
        return False
    return all(
        _is_shaped_as(body[name], part) for name, part in properties.items() if name in body and _is_object(part)
    )


def _is_object(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "object"


def _problem(title: str, status: int, instance: str) -> Response:
    document = {"title": title, "status": status, "instance": instance}
    return Response(json.dumps(document), status_code=status, media_type=MEDIA_TYPE)


def _forced_problem(code: int) -> Response:
    title, detail = _FORCED.get(code, ("Unknown", "Not implemented response code"))
    document = {"title": title, "status": code, "detail": detail}
    return Response(json.dumps(document), status_code=code, media_type=MEDIA_TYPE)
