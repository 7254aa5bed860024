"""Nodes and promises of commands (docs/protocol.md 5.5)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from resonate.encoders import Encoder
from resonate.engine.functions.attempt_limits import ONCE, limits_of
from resonate.engine.history import tags_of_link
from resonate.engine.model import Lineage, Node, Work, kind_of
from resonate.errors import refusal
from resonate.interceptors import NO_HEADERS, tags_of_headers
from resonate.payloads import codec
from resonate.payloads.restore import Asked
from resonate.validation import within_time
from resonate.workflow.commands import Command, LocalCall, PromiseCommand, RemoteCall, TimerCommand, misused, state_of
from resonate.workflow.context import Context, Info
from resonate.workflow.options import DEFAULT_TIMEOUT, UNSET
from resonate.workflow.registry import Registry
from resonate.workflow.signatures import UNKNOWN, Signature, check, signature_of
from resonate_store.model import ids
from resonate_store.model.addresses import expand
from resonate_store.model.records import SettledState, Value
from resonate_store.model.requests import PromiseCreate, PromiseRecord
from resonate_store.model.tags import (
    BRANCH,
    FUNC,
    IDEMPOTENCY_KEY,
    KEY_STEM,
    ORIGIN,
    PARENT,
    PREFIX,
    SCOPE,
    TARGET,
    TIMER,
)

_SHORT_ID = ids.MAX_ID_BYTES // 4
"""An id of at most this many characters is within the limit of bytes, in any alphabet."""
_OWN_STEPS = "resonate.workflow."
"""The modules of the SDK's own steps, such as `ctx.time.time()`. Interceptors do not see them."""
_DEFAULT_TIMEOUT_MS = round(DEFAULT_TIMEOUT * 1000)


class Conventions:
    """Builder of the nodes of one execution's commands.

    Args:
        root: the id of the execution's root.
        registry: the functions known here.
        dependencies: the dependencies of contexts.
        default_target: the target of calls that name none.
        group: their target if their function is registered here.
        encoders: gets the encoder of each call, by promise id, because this process may also run the called function.
        headers: the headers of the execution, which calls inherit.
    """

    def __init__(
        self,
        root: str,
        registry: Registry,
        dependencies: Mapping[str, Any],
        default_target: str,
        group: str | None,
        encoders: dict[str, Encoder[Any, str | None]],
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self._root = root
        self._registry = registry
        self._dependencies = dependencies
        self._default_target = default_target
        self._group = group
        self._encoders = encoders
        self._headers = headers
        self._interceptors = registry.interceptors

    def local(self, command: LocalCall[Any], id: str, place: str, parent: Lineage, now: int) -> Node:
        """Build the node of a local call, with the work that settles it.

        Args:
            command: the call.
            id: the id of its promise.
            place: the command's number below its parent, `{parent}.{n}`, which is its default id.
            parent: the lineage of the workflow that issues it.
            now: the present instant (ms).

        Raises:
            ResonateStoreError: the id is not valid.
            SignatureError: the call does not fit the function.
            ProgramError: an argument is a command that was not yielded, or the function cannot have one of its options.
        """
        opts, func = command.opts, command.func
        if (opts.id or len(id) > _SHORT_ID) and opts.durable is not False and (problem := ids.problem_with(id)):
            raise refusal(400, problem)
        for argument in command.args:
            if isinstance(argument, Command):
                raise misused(cast("object", argument))
        signature = signature_of(func)
        if command.kwargs or not signature.least <= len(command.args) <= signature.most:
            check(func, command.name, command.args, command.kwargs)
        # A promise with an overridden id is the root of a tree (docs/rules.md R7).
        lineage = parent if id == place else parent.apart(id)
        timeout_at = now + (_DEFAULT_TIMEOUT_MS if opts.timeout is None else math.ceil(opts.timeout * 1000))
        if timeout_at > lineage.timeout_at:
            timeout_at = lineage.timeout_at
        node = Node(id, timeout_at, "run", command.name, signature.result, opts.encoder)
        if opts.durable is False:
            node.durable = False
        tags = lineage.tags_of(command.name, opts.tags)
        key = None if opts.idempotency_key is None else opts.key_for(id)
        if key is not None:
            node.key = key
            tags = {**tags, IDEMPOTENCY_KEY: key}
        version = self._registry.version_of(func)
        if key is None:
            key = id if parent.names is None else parent.names.key(id, place, f"run {command.name}")
        info = Info(1, timeout_at / 1000, tags.copy(), version, key, headers=self._headers)
        context = Context(id, info, self._registry, self._dependencies, self._root)
        kind = kind_of(func)
        node.work = Work(
            node,
            func,
            command.name,
            command.args,
            command.kwargs,
            context,
            state_of(context),
            lineage,
            tags,
            None if opts is UNSET else opts.policy_for(func),
            opts.non_retryable_exceptions or (),
            place,
            kind,
            kind == "workflow",
            not command.waits,
        )
        if opts is not UNSET and (limits := limits_of(opts, kind, command.name)) is not None:
            node.work.limits = limits
            if limits.at_most_once and node.work.policy is None:
                node.work.policy = ONCE
        if self._interceptors is not None and not (func.__module__ or "").startswith(_OWN_STEPS):
            node.work.interceptors = self._interceptors
        if id != place:
            _link(node, place, parent)
        return node

    def external(
        self, command: Command[Any], id: str, place: str, parent: Lineage, now: int, *, detached: bool
    ) -> tuple[Node, PromiseCreate]:
        """Build the node of a promise that this task does not settle, and the request that creates it.

        Args:
            command, id, place, parent, now: as for `local`.
            detached: whether the workflow can end before the call has ended.

        Raises:
            PayloadError: the arguments, or the data, have no JSON form.
        """
        opts = command.opts
        # A promise with an overridden id, or of a detached call, is the root of a tree (docs/rules.md R7).
        lineage = parent.apart(id) if detached or id != place else parent
        timeout = command.seconds if isinstance(command, TimerCommand) else opts.timeout
        timeout_at = now + (_DEFAULT_TIMEOUT_MS if timeout is None else math.ceil(timeout * 1000))
        timeout_at = within_time(timeout_at) if detached else min(timeout_at, lineage.timeout_at)
        node = Node(id, timeout_at, command.kind, command.name)
        node.external = True
        node.timer = isinstance(command, TimerCommand)
        node.encoder = opts.encoder
        node.key = opts.key_for(id)
        tags = {
            **(opts.tags or {}),
            SCOPE: "global",
            PARENT: lineage.id,
            ORIGIN: lineage.origin,
            BRANCH: id,
            PREFIX: lineage.prefix,
        }
        if node.key is not None:
            tags[IDEMPOTENCY_KEY] = node.key
        param = Value()
        if isinstance(command, RemoteCall):
            if self._headers:
                tags = {**tags_of_headers(self._headers), **tags}
            version = opts.version or command.version
            target = opts.target or self._registry.target_of(command.name, version, self._group, self._default_target)
            tags[TARGET] = expand(target)
            tags[FUNC] = command.name
            if parent.names is not None:
                tags[KEY_STEM] = parent.names.key(id, place, f"rpc {command.name}")
            param = codec.encode_call(command.name, command.args, command.kwargs, version, node.encoder)
            signature = self._signature(command.name, version)
            if node.encoder is None:
                signature.check_values(command.name, command.args, command.kwargs)
            else:
                self._encoders[id] = node.encoder
            node.annotation = self.result_type(command)
        elif isinstance(command, PromiseCommand):
            if command.data is not None:  # without data the param stays empty, even with an encoder
                param = codec.encode(command.data, f"the data of promise {id}", "data", node.encoder)
        elif isinstance(command, TimerCommand):
            tags[TIMER] = "true"
        if id != place:
            _link(node, place, parent)
        return node, PromiseCreate(id, node.timeout_at, param, tags)

    def result_type(self, command: RemoteCall[Any]) -> Any:
        """Return the type that the call asks for, else the annotation of the function if it is registered here."""
        if command.result_type is not None:
            return Asked(command.result_type)
        return self._signature(command.name, command.opts.version or command.version).result

    def _signature(self, name: str, version: int) -> Signature:
        """Return the signature of a remote function, if it is registered here."""
        try:
            return signature_of(self._registry.get(name, version).func)
        except ValueError:
            return UNKNOWN


def _link(node: Node, place: str, parent: Lineage) -> None:
    """Note the place of a command whose promise has an overridden id."""
    node.link = place
    node.inherited = parent.tags


def linked(
    node: Node, state: SettledState, value: Value, timeout_at: int, now: int, more: dict[str, str] | None = None
) -> PromiseRecord:
    """Return the request that records the outcome of a promise with an overridden id at its command's number.

    `more` are further tags of the record.
    """
    assert node.link is not None
    return PromiseRecord(node.link, timeout_at, now, state, value, tags={**tags_of_link(node), **(more or {})})
