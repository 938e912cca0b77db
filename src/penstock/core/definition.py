"""A compiled version: the graph the decider walks. Built by `core.loading`, frozen ever after.

Node codes are unique in the whole version, nested graphs included, so a code alone names a place. A flow's index
is its place in the graph's written order. Durations are `core.durations.Duration`; texts are a str or a map by language.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from penstock.core.durations import Duration
from penstock.core.expression import Expression, Template

Text: TypeAlias = str | dict[str, str]

SEMANTICS = 1
"""Number of the decider's behaviour, stored on version and process; a change of behaviour is a new number."""


class Driver(StrEnum):
    GRAPH = "graph"
    CODE = "code"
    CLIENT = "client"


class Join(StrEnum):
    ANY = "any"
    ALL = "all"
    INCLUSIVE = "inclusive"


class RetryPolicy(msgspec.Struct, frozen=True):
    """How a technical failure is tried again. Durations in milliseconds; `jitter` is the part (0 to 1) that varies."""

    max_attempts: int = 3
    delay: int = 1_000
    factor: float = 2.0
    cap: int = 300_000
    jitter: float = 0.1
    timeout: int | None = None
    """How long one attempt may take in all."""


class Flow(msgspec.Struct, frozen=True):
    id: str
    index: int
    source: str
    target: str
    condition: Expression | None = None
    default: bool = False


class Node(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    name: Text = ""
    join: Join = Join.ANY
    extensions: dict[str, Any] = {}
    kind: str = ""


class Job(Node, frozen=True, kw_only=True):
    topic: str
    input: Template | None = None
    retry: RetryPolicy = RetryPolicy()
    kind: str = "job"


class Http(Node, frozen=True, kw_only=True):
    """The request, rendered, is the visit's input: {url, method, headers, body}, and connection where it has one.

    `connection` names who lends address and credential; the url is a path below its address then.
    """

    request: Template
    connection: str | None = None
    retry: RetryPolicy = RetryPolicy()
    kind: str = "http"


class Robot(Node, frozen=True, kw_only=True):
    """Work for a robot: a job whose topic is `robot:CODE`."""

    robot: str
    input: Template | None = None
    retry: RetryPolicy = RetryPolicy()
    kind: str = "robot"


class ItemKind(StrEnum):
    """What sort of thing people see. A STEP, which devices report, comes from no node."""

    TASK = "TASK"
    MESSAGE = "MESSAGE"
    THREAD = "THREAD"


class Item(Node, frozen=True, kw_only=True):
    """`waits`: the token stays until the item is done; a task always waits."""

    task: str
    input: Template | None = None
    shows: ItemKind = ItemKind.TASK
    waits: bool = True
    kind: str = "item"


class Timer(Node, frozen=True, kw_only=True):
    """Exactly one of `after`, `until` is set. `until` gives an RFC 3339 time, `after` an ISO 8601 duration."""

    after: Template | None = None
    until: Template | None = None
    kind: str = "timer"


class Trigger(msgspec.Struct, frozen=True):
    """What a message node, a boundary or an event gateway's target waits for.

    Exactly one of timer (after | until), error, message, signal.
    """

    after: Template | None = None
    until: Template | None = None
    error: str | None = None
    """An error code, or "*" for any."""
    message: str | None = None
    key: Template | None = None
    signal: str | None = None


class Message(Node, frozen=True, kw_only=True):
    trigger: Trigger
    kind: str = "message"


class Call(Node, frozen=True, kw_only=True):
    definition: str
    input: Template | None = None
    kind: str = "call"


class ScopeNode(Node, frozen=True, kw_only=True):
    """An embedded sub-process; `for_each` renders to the list of elements, `limit` bounds how many run at once."""

    graph: Graph
    for_each: Template | None = None
    as_name: str = "item"
    limit: int | None = None
    output: Template | None = None
    kind: str = "scope"


class SetNode(Node, frozen=True, kw_only=True):
    """Assignments, rendered then merged by key: into the scope's vars, the process's metadata, its entity."""

    vars: Template | None = None
    metadata: Template | None = None
    entity: Template | None = None
    kind: str = "set"


class GatewayKind(StrEnum):
    EXCLUSIVE = "exclusive"
    PARALLEL = "parallel"
    INCLUSIVE = "inclusive"
    EVENT = "event"


class Gateway(Node, frozen=True, kw_only=True):
    gateway: GatewayKind
    kind: str = "gateway"


class Boundary(Node, frozen=True, kw_only=True):
    attached_to: str
    trigger: Trigger
    interrupting: bool = True
    kind: str = "boundary"


class Start(Node, frozen=True, kw_only=True):
    """A plain start, or one that a message of this name sets off."""

    message: str | None = None
    kind: str = "start"


class EndKind(StrEnum):
    PLAIN = "plain"
    ERROR = "error"
    TERMINATE = "terminate"


class End(Node, frozen=True, kw_only=True):
    end: EndKind = EndKind.PLAIN
    error: str | None = None
    kind: str = "end"


AnyNode = Job | Http | Robot | Item | Timer | Message | Call | ScopeNode | SetNode | Gateway | Boundary | Start | End


class Graph(msgspec.Struct, frozen=True):
    """Nodes and flows of one level, with the tables the decider reads."""

    nodes: dict[str, AnyNode]
    flows: tuple[Flow, ...]
    starts: tuple[str, ...]
    """Where a plain start puts tokens: plain start nodes, else every node without an incoming flow."""
    outgoing: dict[str, tuple[Flow, ...]]
    incoming: dict[str, tuple[Flow, ...]]
    boundaries: dict[str, tuple[Boundary, ...]]
    """Of a node, in written order."""
    after: dict[str, frozenset[str]]
    """Nodes that can be reached from a node by one flow or more, its boundaries' flows included."""
    arrivals: dict[str, dict[str, frozenset[int]]]
    """Inclusive join -> node -> indexes of the join's incoming flows that a token at the node can reach without
    passing the join itself (BPMN 2.0, 13.4.3). A token at a node is also a token at its boundaries."""


class Task(msgspec.Struct, frozen=True):
    """An item definition. `schema` and `ui` are JSON as written; `due` counts from the item's birth."""

    code: str
    name: Text = ""
    description: Text = ""
    schema: dict[str, Any] | None = None
    ui: dict[str, Any] | None = None
    candidates: tuple[str, ...] = ()
    due: Duration | None = None
    priority: int = 0


class Version(msgspec.Struct, frozen=True):
    """A definition as the engine runs it."""

    code: str
    name: Text
    driver: Driver
    root: Graph
    tasks: dict[str, Task]
    places: dict[str, Graph]
    """Node code -> the graph it stands in."""
    owners: dict[str, str]
    """Node code -> code of the scope node whose graph it stands in, "" for the root."""
    schemas: dict[str, dict[str, Any]]
    """JSON Schemas of "input", "metadata", "entity", where given."""
    read_outputs: frozenset[str]
    """Codes of the nodes whose output some expression reads; no other output is ever loaded."""
    output: Template | None = None
    search: tuple[str, ...] = ()
    permissions: Mapping[str, tuple[str, ...]] = {}
    temporal: dict[str, str] | None = None
    semantics: int = SEMANTICS
    messages: Mapping[str, str] = {}
    """Message name -> start node it sets off."""
