"""From YAML to a workflow, with every error of form in one pass, each with line and column.

Only the form is looked at here: keys, shapes, and whether a text is a text. What a text means is the
checker's affair. Aliases are followed, but only so far that no small document becomes a large one.
"""

import difflib
import itertools
import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from einthoven.workflow.flaws import HINTS_MAX, Flaw, Mode, Path, Place, flaw_of, short
from einthoven.workflow.model import (
    Case,
    Comparison,
    Condition,
    Construct,
    DataEval,
    DataIn,
    DataLoop,
    DataOut,
    For,
    Function,
    If,
    LoopCounter,
    Parallel,
    ParallelFor,
    Sequence,
    Setting,
    SubWorkflow,
    Switch,
    While,
    Workflow,
)

__all__ = ["BYTES_MAX", "DEPTH_MAX", "NODES_MAX", "Reading", "read"]

BYTES_MAX: Final = 4 * 2**20
"""A longer document is not read, nor one whose texts are longer after aliases were followed."""
NODES_MAX: Final = 200_000
"""Nodes after aliases were followed."""
DEPTH_MAX: Final = 100
"""Mappings and lists within each other."""

_STR: Final = "tag:yaml.org,2002:str"
_BOOL: Final = "tag:yaml.org,2002:bool"
_NULL: Final = "tag:yaml.org,2002:null"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Reading(msgspec.Struct, frozen=True):
    """What came of a text."""

    workflow: Workflow | None
    """None where there is an error."""
    flaws: tuple[Flaw, ...]
    places: dict[Path, Place]
    """Of every node that was read."""
    draft: Workflow | None = None
    """The workflow as far as its form lets one understand it, errors or not: more can be found in it."""

    def place(self, path: Path) -> Place:
        """Where a node stands, or the nearest one around it."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))


def read(text: str | bytes, mode: Mode = "strict") -> Reading:
    """Read a document; never raises for what is in it."""
    reader = _Reader(mode)
    draft = reader.document(text)
    is_sound = not any(one.severity == "error" for one in reader.flaws)
    return Reading(draft if is_sound else None, tuple(reader.flaws), reader.places, draft)


class _Stop(Exception):
    """The document is too large or too deep to go on."""


class _Key(NamedTuple):
    field: str
    read: Callable[["_Reader", yaml.Node, Path], Any]
    is_needed: bool = False
    is_lenient: bool = False
    """Tolerated in lenient mode only."""
    may_be_missing: bool = False
    """Needed in strict mode only."""
    code: str = "E104"
    """Of the flaw where it is missing."""


class _Reader:
    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._nodes = self._characters = 0
        self.flaws: list[Flaw] = []
        self.places: dict[Path, Place] = {}

    def document(self, text: str | bytes) -> Workflow | None:
        root = self._compose(text)
        if root is None:
            return None
        try:
            found = self.mapping(root, (), _WORKFLOW)
        except _Stop:
            return None
        return None if found is None else Workflow(**found)

    def _compose(self, text: str | bytes) -> yaml.Node | None:
        length = len(text if isinstance(text, bytes) else text.encode(errors="replace"))
        if length > BYTES_MAX:
            self._say("E101", (), None, f"the document has more than {BYTES_MAX} bytes.")
            return None
        try:
            documents = list(itertools.islice(yaml.compose_all(text, Loader=_LOADER), 2))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or "the text cannot be read"
            place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
            said = f"this is not YAML: {problem}."
            self.flaws.append(flaw_of(self._mode, "E101", (), place, said, is_tolerated=False))
            return None
        except (UnicodeDecodeError, RecursionError, ValueError):
            self._say("E101", (), None, "this is not YAML: no text, or too deep.")
            return None
        if len(documents) != 1:
            what = "there is more than one document." if documents else "there is nothing in it."
            self._say("E101", (), documents[-1] if documents else None, what, "Give each workflow a file.")
            return None
        return documents[0]

    # ---------------------------------------------------------------- finding

    def _say(
        self,
        code: str,
        path: Path,
        node: yaml.Node | None,
        message: str,
        hint: str = "",
        *,
        is_tolerated: bool = False,
    ) -> None:
        place = Place(1, 1) if node is None else _place(node)
        self.flaws.append(flaw_of(self._mode, code, path, place, message, hint, is_tolerated=is_tolerated))

    def _visit(self, node: yaml.Node, path: Path) -> None:
        self.places[path] = _place(node)
        self._count(node, path)

    def _count(self, node: yaml.Node, path: Path) -> None:
        self._nodes += 1
        self._characters += len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        for is_over, what in (
            (self._nodes > NODES_MAX, f"{NODES_MAX} nodes"),
            (self._characters > BYTES_MAX, f"{BYTES_MAX} characters"),
            (len(path) > DEPTH_MAX, f"{DEPTH_MAX} levels"),
        ):
            if is_over:
                self._say("E101", path, node, f"there are more than {what}.", "Do not build it of aliases.")
                raise _Stop

    def _nearest(self, key: str, known: dict[str, Any]) -> str:
        if len(self.flaws) > HINTS_MAX:
            return ""
        close = difflib.get_close_matches(key[:60], known, 1)
        return f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(known)}."

    # ---------------------------------------------------------------- shapes

    def mapping(self, node: yaml.Node, path: Path, keys: dict[str, _Key]) -> dict[str, Any] | None:
        self._visit(node, path)
        if not isinstance(node, yaml.MappingNode):
            self._say("E102", path, node, f"a mapping is wanted here, not {_shape(node)}.")
            return None
        found: dict[str, Any] = {}
        seen: set[str] = set()
        is_whole = True
        for key_node, value in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._say("E102", path, key_node, "a key must be a word.")
                is_whole = False
                continue
            self._count(key_node, path)
            written = str(key_node.value)
            key = _OTHER_NAMES.get(written, written)
            if key in seen:
                self._say("E108", path, key_node, f"the key {short(key)} stands here twice.", "Keep one.")
            seen.add(key)
            known = keys.get(key)
            if known is None or known.is_lenient or key != written:
                hint = self._nearest(written, keys) if known is None or key != written else "Remove it."
                self._say("E103", path, key_node, f"the key {short(written)} is not known here.", hint)
            if known is None:
                continue
            read_value = known.read(self, value, (*path, key))
            if read_value is None:
                is_whole = False
            else:
                found[known.field] = read_value
        for key, known in keys.items():
            if known.is_needed and key not in seen:
                self._say(
                    known.code,
                    path,
                    node,
                    f"the key {key!r} is missing.",
                    f"Add {key}.",
                    is_tolerated=known.may_be_missing,
                )
                is_whole = is_whole and known.may_be_missing
        return found if is_whole else None

    def text(self, node: yaml.Node, path: Path) -> str | None:
        self._visit(node, path)
        if not isinstance(node, yaml.ScalarNode):
            self._say("E102", path, node, f"a string is wanted here, not {_shape(node)}.")
            return None
        if node.tag == _STR:
            return str(node.value)
        self._say("E107", path, node, f"a string is wanted here, not {_shape(node)}.", "Put it in quotes.")
        return _plain_text(node)

    def constant(self, node: yaml.Node, path: Path) -> str | None:
        """A text; any other YAML is tolerated in lenient mode, as the JSON text of it."""
        if isinstance(node, yaml.ScalarNode):
            return self.text(node, path)
        self._visit(node, path)
        self._say(
            "E107", path, node, f"a string is wanted here, not {_shape(node)}.", "Write it as JSON text."
        )
        return json.dumps(self._plain(node, path), separators=(",", ":"), ensure_ascii=False)

    def _plain(self, node: yaml.Node, path: Path) -> Any:
        self._visit(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(one, (*path, k)) for k, one in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    found[str(key.value)] = self._plain(value, (*path, str(key.value)))
                else:
                    self._say("E102", path, key, "a key must be a word.")
            return found
        if node.tag == _STR:
            return node.value
        try:
            return json.loads(_plain_text(node) or "null")
        except ValueError:
            return node.value

    def flag(self, node: yaml.Node, path: Path) -> bool | None:
        """``true`` or ``false`` as YAML has them."""
        self._visit(node, path)
        said = node.value.lower() if isinstance(node, yaml.ScalarNode) else ""
        if said not in _FLAGS:
            self._say("E102", path, node, "true or false is wanted here.")
            return None
        if node.tag != _BOOL or said not in {"true", "false"}:
            self._say("E107", path, node, "true or false is wanted here, without quotes.")
        return _FLAGS[said]

    def word_flag(self, node: yaml.Node, path: Path) -> bool | None:
        """``"true"`` or ``"false"`` as a string, as the language's schema wants it."""
        said = self.text(node, path)
        if said is None:
            return None
        if said.lower() not in (_FLAGS if node.tag == _BOOL else {"true", "false"}):
            self._say("E102", path, node, 'the string "true" or "false" is wanted here.')
            return None
        return _FLAGS[said.lower()]

    def items(
        self, node: yaml.Node, path: Path, read_one: Callable[["_Reader", yaml.Node, Path], Any]
    ) -> tuple[Any, ...] | None:
        self._visit(node, path)
        if not isinstance(node, yaml.SequenceNode):
            self._say("E102", path, node, f"a list is wanted here, not {_shape(node)}.")
            return None
        found = [read_one(self, one, (*path, k)) for k, one in enumerate(node.value)]
        return None if any(one is None for one in found) else tuple(found)

    def some(
        self, node: yaml.Node, path: Path, read_one: Callable[["_Reader", yaml.Node, Path], Any]
    ) -> tuple[Any, ...] | None:
        """A list of one at least."""
        found = self.items(node, path, read_one)
        if found == () and isinstance(node, yaml.SequenceNode):
            self._say("E105", path, node, "there is nothing in it.", "Write what is to run, or leave it out.")
            return None
        return found

    def construct(self, node: yaml.Node, path: Path) -> Construct | None:
        self._visit(node, path)
        if not isinstance(node, yaml.MappingNode) or len(node.value) != 1:
            self._say("E102", path, node, "an item of a body is a mapping with one key: its construct.")
            return None
        key_node, value = node.value[0]
        if not isinstance(key_node, yaml.ScalarNode):
            self._say("E102", path, key_node, "a key must be a word.")
            return None
        key = str(key_node.value)
        known = _CONSTRUCTS.get(key)
        if known is None:
            hint = self._nearest(key, _CONSTRUCTS)
            self._say("E106", path, key_node, f"there is no construct {short(key)}.", hint)
            return None
        kind, keys = known
        found = self.mapping(value, (*path, key), keys)
        return None if found is None else kind(**found)


def _of(kind: Callable[..., Any], keys: dict[str, _Key]) -> Callable[[_Reader, yaml.Node, Path], Any]:
    def read_one(reader: _Reader, node: yaml.Node, path: Path) -> Any:
        found = reader.mapping(node, path, keys)
        return None if found is None else kind(**found)

    return read_one


def _list_of(
    read_one: Callable[[_Reader, yaml.Node, Path], Any],
) -> Callable[[_Reader, yaml.Node, Path], Any]:
    return lambda reader, node, path: reader.items(node, path, read_one)


def _some_of(
    read_one: Callable[[_Reader, yaml.Node, Path], Any],
) -> Callable[[_Reader, yaml.Node, Path], Any]:
    return lambda reader, node, path: reader.some(node, path, read_one)


_TEXT: Final = _Reader.text
_SETTING: Final = {"name": _Key("name", _TEXT, True), "value": _Key("value", _Reader.constant, True)}
_SETTINGS: Final = {
    "properties": _Key("properties", _list_of(_of(Setting, _SETTING))),
    "constraints": _Key("constraints", _list_of(_of(Setting, _SETTING))),
}
_PORT: Final = {
    "name": _Key("name", _TEXT, True),
    "type": _Key("type", _TEXT, True),
    "passing": _Key("passing", _Reader.flag),
    **_SETTINGS,
}
_DATA_IN: Final = {**_PORT, "source": _Key("source", _TEXT), "value": _Key("value", _Reader.constant)}
_DATA_OUT: Final = {**_PORT, "source": _Key("source", _TEXT), "saveto": _Key("saveto", _TEXT)}
_DATA_LOOP: Final = {
    **_PORT,
    "initSource": _Key("init_source", _TEXT),
    "value": _Key("value", _Reader.constant),
    "loopSource": _Key("loop_source", _TEXT),
}
_COUNTER: Final = {
    "name": _Key("name", _TEXT, True, may_be_missing=True),
    "type": _Key("type", _TEXT, True, may_be_missing=True),
    "from": _Key("begin", _TEXT, True),
    "to": _Key("end", _TEXT, True),
    "step": _Key("step", _TEXT),
}
_COMPARISON: Final = {
    "data1": _Key("data1", _TEXT, True),
    "data2": _Key("data2", _TEXT, True),
    "operator": _Key("operator", _TEXT, True),
    "negation": _Key("negation", _Reader.word_flag),
}
_CONDITION: Final = {
    "combinedWith": _Key("combined_with", _TEXT, True, code="E402"),
    "conditions": _Key("conditions", _list_of(_of(Comparison, _COMPARISON)), True),
}
_BODY: Final = _some_of(_Reader.construct)
_PORTS: Final = {
    "name": _Key("name", _TEXT, True),
    "dataIns": _Key("data_ins", _list_of(_of(DataIn, _DATA_IN))),
    "dataOuts": _Key("data_outs", _list_of(_of(DataOut, _DATA_OUT))),
    **_SETTINGS,
}
_LOOPS: Final = _Key("data_loops", _list_of(_of(DataLoop, _DATA_LOOP)))
_THE_COUNTER: Final = _Key("counter", _of(LoopCounter, _COUNTER), True)
_THE_CONDITION: Final = _Key("condition", _of(Condition, _CONDITION), True)
_CASE: Final = {
    "value": _Key("value", _TEXT, True),
    "break": _Key("breaks", _Reader.word_flag),
    "functions": _Key("functions", _BODY, True),
}
_DATA_EVAL: Final = {
    "name": _Key("name", _TEXT, True),
    "type": _Key("type", _TEXT, True),
    "source": _Key("source", _TEXT, True, code="E409"),
}


def _section(reader: _Reader, node: yaml.Node, path: Path) -> Any:
    found = reader.mapping(node, path, {"section": _Key("section", _BODY, True)})
    return None if found is None else found["section"]


_CONSTRUCTS: Final[dict[str, tuple[Callable[..., Any], dict[str, _Key]]]] = {
    "function": (
        Function,
        {
            **_PORTS,
            "type": _Key("type", _TEXT, True, may_be_missing=True),
            "deployment": _Key("deployment", _TEXT, is_lenient=True),
        },
    ),
    "sequence": (Sequence, {**_PORTS, "sequenceBody": _Key("body", _BODY, True)}),
    "if": (
        If,
        {
            **_PORTS,
            "condition": _THE_CONDITION,
            "then": _Key("then", _BODY, True),
            "else": _Key("otherwise", _BODY),
        },
    ),
    "switch": (
        Switch,
        {
            **_PORTS,
            "dataEval": _Key("data_eval", _of(DataEval, _DATA_EVAL), True, code="E409"),
            "cases": _Key("cases", _some_of(_of(Case, _CASE)), True),
            "default": _Key("default", _BODY),
        },
    ),
    "for": (
        For,
        {**_PORTS, "dataLoops": _LOOPS, "loopCounter": _THE_COUNTER, "loopBody": _Key("body", _BODY, True)},
    ),
    "while": (
        While,
        {**_PORTS, "dataLoops": _LOOPS, "condition": _THE_CONDITION, "loopBody": _Key("body", _BODY, True)},
    ),
    "parallel": (Parallel, {**_PORTS, "parallelBody": _Key("sections", _some_of(_section), True)}),
    "parallelFor": (
        ParallelFor,
        {**_PORTS, "loopCounter": _THE_COUNTER, "loopBody": _Key("body", _BODY, True)},
    ),
}
_WORKFLOW: Final = {
    "name": _Key("name", _TEXT, True),
    "subFCs": _Key(
        "sub_workflows", _list_of(_of(SubWorkflow, {**_PORTS, "subFCBody": _Key("body", _BODY, True)}))
    ),
    "dataIns": _PORTS["dataIns"],
    "workflowBody": _Key("body", _BODY, True),
    "dataOuts": _PORTS["dataOuts"],
}

_OTHER_NAMES: Final = {"FCBody": "workflowBody"}
_FLAGS: Final = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _shape(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    kind = node.tag.rpartition(":")[2]
    return _SHAPES.get(kind, "something else")


_SHAPES: Final = {
    "str": "a string",
    "null": "nothing",
    "bool": "a boolean",
    "int": "a number",
    "float": "a number",
    "timestamp": "a date",
}


def _plain_text(node: yaml.Node) -> str:
    """A scalar as the language writes it; nothing at all is the empty text."""
    if node.tag == _NULL:
        return "null" if node.value else ""
    return str(node.value.lower() if node.tag == _BOOL else node.value)
