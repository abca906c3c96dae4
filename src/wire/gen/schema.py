"""Reads the schema files (../schemas): one Python object per message, struct and field.

The format: one fact per line, two spaces of indent per level, '#' starts a comment. Version ranges
are kept as sets of ints, already cut to the message that encloses them.
"""

import re
from pathlib import Path

PRIMITIVES = {"bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64", "string",
              "bytes", "records", "uuid"}
KEYWORDS = {"bool", "char", "class", "default", "delete", "enum", "export", "int", "long", "namespace",
            "new", "operator", "private", "public", "register", "short", "template", "union"}
NO_FLEXIBLE = 32767


def snake(name):
    """MaxWaitMs -> max_wait_ms, KRaftVersion -> kraft_version."""
    s = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name.replace("KRaft", "Kraft"))
    s = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", s).lower()
    return s + "_" if s in KEYWORDS else s


def camel(name):
    """The name of a member in JSON: MaxWaitMs -> maxWaitMs."""
    return name[0].lower() + name[1:]


def versions(text, within):
    """'*', '3', '3-7', '3+', 'none' as a set, cut to `within`."""
    if text == "*":
        return set(within)
    if text == "none":
        return set()
    m = re.fullmatch(r"(\d+)(?:(\+)|-(\d+))?", text)
    if not m:
        raise ValueError(f"bad version range {text!r}")
    low = int(m[1])
    high = max(within, default=low) if m[2] else int(m[3] or low)
    return {v for v in range(low, high + 1) if v in within}


class Field:
    def __init__(self, name, type_text, range_text, attrs):
        self.name, self.member, self.json = name, snake(name), camel(name)
        self.is_array = type_text.startswith("[]")
        self.type = type_text.removeprefix("[]")
        self.range_text = range_text
        self.nullable_text = None
        self.tag = self.default = None
        self.ignorable = self.classic_only = False
        self.struct = None  # the Struct, when `type` names one
        for a in attrs:
            key, _, value = a.partition("=")
            if key == "nullable":
                self.nullable_text = value or "*"
            elif key == "tag":
                self.tag = int(value)
            elif key == "default":
                self.default = value
            elif key == "ignorable":
                self.ignorable = True
            elif key == "flexible" and value == "none":
                self.classic_only = True
            elif key not in ("key", "zerocopy", "entity"):
                raise ValueError(f"unknown attribute {a!r} of {name}")

    def resolve(self, message, enclosing):
        self.versions = versions(self.range_text, enclosing)
        self.nullable = versions(self.nullable_text, self.versions) if self.nullable_text else set()
        if self.type not in PRIMITIVES and self.struct is None:
            self.struct = message.struct(self.type)

    @property
    def null_by_default(self):
        """A nullable field of type records is null unless said otherwise; others only if said."""
        return self.default == "null" or (self.type == "records" and bool(self.nullable))


class Struct:
    def __init__(self, name):
        self.name, self.fields = name, []
        self.used = set()  # versions of the message in which it can occur


class Message:
    def __init__(self, kind, name, range_text, flexible_text):
        self.kind, self.name = kind, name
        self.versions = versions(range_text, range(0, 1000)) if range_text != "none" else set()
        self.flexible = versions(flexible_text, self.versions) if self.versions else set()
        self.unstable_latest = False
        self.root = Struct(name)
        self.structs = {}  # by name, in order of appearance
        self.api_key = self.record_type = self.domain = None

    def struct(self, name):
        if name not in self.structs:
            raise ValueError(f"{self.name}: no struct {name}")
        return self.structs[name]

    def resolve(self):
        self._use(self.root, self.versions)
        order, seen = [], set()

        def visit(s):
            for f in s.fields:
                if f.struct and f.struct.name not in seen:
                    seen.add(f.struct.name)
                    visit(f.struct)
            if s is not self.root:
                order.append(s)
        visit(self.root)
        self.ordered = order  # a struct after those it uses

    def _use(self, s, where):
        new = where - s.used
        if not new and s.used:
            return
        s.used |= where
        for f in s.fields:
            f.resolve(self, self.versions)
            if f.struct:
                self._use(f.struct, s.used & f.versions)


class File:
    """One schema file; `stem` is the name of its header."""

    def __init__(self, path, domain):
        self.path, self.messages = path, []
        self.api_key = self.record = self.record_domain = None
        self._stack = []  # (indent, Struct, or Field whose struct may follow)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                self._line(line.split("#", 1)[0].rstrip())
            except ValueError as e:
                raise SystemExit(f"{path}:{number}: {e}") from e
        for m in self.messages:
            m.resolve()
        stem = snake(re.sub(r"^(remote-log-|control-|data-)?(\d+-)?", "", path.stem))
        if domain in ("group", "transaction", "share") and not stem.startswith(domain + "_"):
            stem = f"{domain}_{stem}"
        self.stem = stem

    def _line(self, line):
        if not line.strip():
            return
        indent, words = len(line) - len(line.lstrip()), line.split()
        if indent == 0:
            self._top(words)
            return
        while self._stack[-1][0] >= indent:
            self._stack.pop()
        field = Field(words[0], words[1], words[2], words[3:])
        self._owner().fields.append(field)
        if field.type not in PRIMITIVES:
            self._stack.append((indent, field))

    def _owner(self):
        """The struct that the line belongs to; a field's struct begins with its first deeper line."""
        indent, owner = self._stack[-1]
        if isinstance(owner, Field):
            structs = self.messages[-1].structs
            if owner.type in structs:
                raise ValueError(f"{owner.type} is defined twice")
            structs[owner.type] = owner.struct = Struct(owner.type)
            self._stack[-1] = (indent, owner.struct)
        return self._stack[-1][1]

    def _top(self, words):
        if words[0] == "api":
            self.api_key = int(words[1])
        elif words[0] == "record":
            self.record_domain, self.record = words[1], int(words[2])
        elif words[0] == "message":
            attrs = dict(w.partition("=")[::2] for w in words[3:])
            m = Message(words[1], words[2], attrs["versions"], attrs["flexible"])
            m.unstable_latest = "unstable-latest" in attrs
            m.api_key, m.record_type, m.domain = self.api_key, self.record, self.record_domain
            self.messages.append(m)
            self._stack = [(0, m.root)]
        elif words[0] == "struct":
            s = Struct(words[1])
            self.messages[-1].structs[words[1]] = s
            self._stack = [(0, s)]
        elif words[0] not in ("listeners", "removed"):
            raise ValueError(f"unknown line {words[0]!r}")


def load(root):
    """All files under root/api and root/records, in a fixed order."""
    files = [File(p, "") for p in sorted((root / "api").glob("*.schema"))]
    for d in sorted((root / "records").iterdir()):
        files += [File(p, d.name) for p in sorted(d.glob("*.schema"))]
    files = [f for f in files if any(m.versions for m in f.messages)]
    names = {}
    for f in files:
        for m in f.messages:
            if m.name in names:
                raise SystemExit(f"{f.path}: {m.name} is also in {names[m.name]}")
            names[m.name] = f.path
    return files


def rows(path):
    """The rows of errors.txt or api-keys.txt: columns separated by two or more spaces."""
    for line in Path(path).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield re.split(r"\s{2,}", line.strip())
