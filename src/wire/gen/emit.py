"""Turns the schemas (schema.py) into C++: a struct per message, and code that reads and writes it.

Readers and writers come in two forms, flexible and classic, and in each form a field's guard is left
out when the versions at hand decide it already.
"""

from schema import NO_FLEXIBLE, PRIMITIVES, snake

CPP = {"bool": "bool", "int8": "int8_t", "int16": "int16_t", "uint16": "uint16_t",
       "int32": "int32_t", "uint32": "uint32_t", "int64": "int64_t", "float64": "double",
       "string": "std::string_view", "bytes": "ByteView", "uuid": "Uuid"}
FIXED = {"bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8,
         "float64": 8, "uuid": 16}
METHOD = {"bool": "boolean"}  # name of the Reader's and Writer's method, where it differs
RECORDS_REF = {"FetchResponse", "FetchSnapshotResponse", "ShareFetchResponse"}
LENGTH = {"string": {True: 1, False: 2}, "bytes": {True: 1, False: 4}, "records": {True: 1, False: 4}}


class Emitter:
    """Emits one message."""

    def __init__(self, message):
        self.m = message
        self.out = []

    # -- types and values ---------------------------------------------------------------------

    def element(self, f):
        if f.struct:
            return f.type
        if f.type == "records":
            return "RecordsRef" if self.m.name in RECORDS_REF else "ByteView"
        return CPP[f.type]

    def qualified(self, f):
        return f"{self.m.name}::{f.type}" if f.struct else self.element(f)

    def declared(self, f):
        t = f"Array<{self.element(f)}>" if f.is_array else self.element(f)
        return f"std::optional<{t}>" if f.nullable else t

    def initialiser(self, f):
        if f.nullable:
            if f.null_by_default:
                return ""
            return f" = {'Array<' + self.element(f) + '>' if f.is_array else self.element(f)}()"
        if f.is_array or f.struct or f.type in ("string", "bytes", "records", "uuid"):
            if f.default:
                raise SystemExit(f"{self.m.name}.{f.name}: default {f.default} is not understood")
            return ""
        return f" = {self.literal(f)}"

    def literal(self, f):
        value = f.default or {"bool": "false", "float64": "0.0"}.get(f.type, "0")
        return {"-2147483648": "INT32_MIN", "9223372036854775807": "INT64_MAX"}.get(value, value)

    def differs(self, f, v="v"):
        """A C++ condition: the member differs from its default."""
        x = f"{v}.{f.member}"
        if f.nullable:
            if f.null_by_default:
                return f"{x}.has_value()"
            inner = f"!is_default(*{x})" if f.struct and not f.is_array else f"!{x}->empty()"
            return f"!({x}.has_value() && {inner[1:]})"
        if f.struct and not f.is_array:
            return f"!is_default({x})"
        if f.is_array or f.type in ("string", "bytes", "records"):
            return f"!{x}.empty()"
        if f.type == "uuid":
            return f"!{x}.is_zero()"
        if f.type == "bool":
            return f"!{x}" if f.default == "true" else x
        return f"{x} != {self.literal(f)}"

    def guard(self, wanted, within):
        """A condition on `version` for `wanted`, given that it is in `within`; None: always."""
        inside = wanted & within
        if inside == within:
            return None
        low, high = min(inside), max(inside)
        if inside != {v for v in within if low <= v <= high}:
            raise SystemExit(f"{self.m.name}: versions {sorted(inside)} have a gap")
        parts = []
        if low > min(within):
            parts.append(f"version >= {low}")
        if high < max(within):
            parts.append(f"version <= {high}")
        return " && ".join(parts)

    # -- header -------------------------------------------------------------------------------

    def header(self):
        m, o = self.m, []
        # Nested types live outside the message: std::optional of a type with member initialisers needs
        # that type's enclosing class to be complete.
        if m.ordered:
            o.append(f"namespace {snake(m.name)} {{")
            for s in m.ordered:
                o += [f"struct {s.name} {{", *(f"  {line}" for line in self.members(s)), "};"]
            o += [f"}}  // namespace {snake(m.name)}", ""]
        o.append(f"/// {self.title()}")
        o.append(f"struct {m.name} {{")
        o += [f"  using {s.name} = {snake(m.name)}::{s.name};" for s in m.ordered]
        if m.ordered:
            o.append("")
        if m.api_key is not None:
            o.append(f"  static constexpr int16_t kApiKey = {m.api_key};")
        if m.record_type is not None:
            o.append(f"  static constexpr int16_t kRecordType = {m.record_type};")
        o.append(f"  static constexpr int16_t kMinVersion = {min(m.versions)};")
        o.append(f"  static constexpr int16_t kMaxVersion = {max(m.versions)};")
        first = min(m.flexible, default=NO_FLEXIBLE)
        o.append(f"  static constexpr int16_t kFirstFlexible = {first};")
        unstable = "true" if m.unstable_latest else "false"
        o.append(f"  static constexpr bool kLatestVersionUnstable = {unstable};")
        o.append(f'  static constexpr std::string_view kName = "{m.name}";')
        o.append("")
        o += [f"  {line}" for line in self.members(m.root)]
        if m.root.fields:
            o.append("")
        o.append("  void encode(Writer& w, int16_t version) const;")
        o.append("  Result<void> decode(Reader& r, int16_t version);")
        o.append("  static const MessageInfo& info();")
        o.append("};")
        return o

    def title(self):
        m = self.m
        what = {"request": f"Request of API {m.api_key}", "response": f"Response of API {m.api_key}",
                "header": "Header of a frame", "key": f"Key of record type {m.record_type}",
                "value": f"Value of record type {m.record_type}", "data": "Data"}[m.kind]
        flexible = f", flexible from {min(m.flexible)}" if m.flexible else ""
        return f"{what}; versions {min(m.versions)}-{max(m.versions)}{flexible}."

    def members(self, s):
        o = []
        for f in s.fields:
            note = []
            here = f.versions & s.used
            if here != s.used:
                low, high = min(here), max(here)
                note.append(f"{low}+" if high == max(s.used) else
                            f"{low}" if low == high else f"{low}-{high}")
            if f.tag is not None:
                note.append("tagged")
            comment = f"  // {', '.join(note)}" if note else ""
            o.append(f"{self.declared(f)} {f.member}{self.initialiser(f)};{comment}")
        return o

    # -- source -------------------------------------------------------------------------------

    def source(self):
        m = self.m
        self.out = ["namespace {", ""]
        compared = self.compared()
        for s in m.ordered:
            if s.name in compared:
                self.emit_is_default(s)
        for s in [*m.ordered, m.root]:
            for flexible in (True, False):
                where = s.used & m.flexible if flexible else s.used - m.flexible
                if where:
                    self.emit_write(s, flexible, where)
                    self.emit_read(s, flexible, where)
        self.out += ["}  // namespace", ""]
        self.emit_entry()
        return self.out

    def compared(self):
        """Names of structs whose default-ness is asked for somewhere."""
        names = set()

        def need(s):
            if s.name in names:
                return
            names.add(s.name)
            for f in s.fields:
                if f.struct and not f.is_array and not f.null_by_default:
                    need(f.struct)
        for s in [*self.m.ordered, self.m.root]:
            for f in s.fields:
                asked = f.tag is not None or (not f.versions >= s.used and not f.ignorable)
                if f.struct and not f.is_array and not f.null_by_default and asked:
                    need(f.struct)
        return names

    def emit_is_default(self, s):
        parts = [f"({self.differs(f)})" for f in s.fields]
        self.out.append(f"bool is_default(const {self.m.name}::{s.name}& v) {{")
        self.out.append(f"  return !({' || '.join(parts)});")
        self.out += ["}", ""]

    def signature(self, verb, s, flexible):
        form = "flexible" if flexible else "classic"
        name = self.m.name if s is self.m.root else f"{self.m.name}::{s.name}"
        version = "[[maybe_unused]] int16_t version"
        subject = "[[maybe_unused]] "
        if verb == "write":
            return f"void write_{form}({subject}Writer& w, {subject}const {name}& v, {version}) {{"
        return f"void read_{form}({subject}Reader& r, {subject}{name}& v, {version}) {{"

    def block(self, condition, lines, indent="  "):
        """`lines` under `if (condition)`, or bare."""
        if condition is None:
            return [indent + line for line in lines]
        return [f"{indent}if ({condition}) {{", *(f"{indent}  {line}" for line in lines), f"{indent}}}"]

    # -- writing ------------------------------------------------------------------------------

    def emit_write(self, s, flexible, where):
        o = [self.signature("write", s, flexible)]
        tagged = []
        for f in s.fields:
            here = f.versions & where
            if f.tag is not None and not flexible:
                here = set()
            if here != where and not f.ignorable:
                missing = None if not here else self.guard_not(here, where)
                refuse = f'w.unsupported("{self.m.name}", "{f.name}", version);'
                check = self.differs(f)
                o += self.block(f"({missing}) && ({check})" if missing else check, [refuse])
            if not here:
                continue
            if f.tag is not None:
                tagged.append(f)
            else:
                o += self.block(self.guard(here, where), self.write_field(f, flexible, here))
        if flexible:
            o += self.write_tagged(sorted(tagged, key=lambda f: f.tag), where)
        self.out += [*o, "}", ""]

    def guard_not(self, here, where):
        return f"!({self.guard(here, where)})"

    def write_tagged(self, fields, where):
        if not fields:
            return ["  w.uvarint(0);"]
        o = []
        for f in fields:
            guard = self.guard(f.versions & where, where)
            condition = f"{guard} && ({self.differs(f)})" if guard else self.differs(f)
            o.append(f"  const bool tag{f.tag} = {condition};")
        count = " + ".join(f"(tag{f.tag} ? 1U : 0U)" for f in fields)
        o.append(f"  w.uvarint({count});")
        for f in fields:
            lines = [f"w.uvarint({f.tag});", "const size_t at = w.begin_tagged();",
                     *self.write_field(f, True, f.versions & where, tagged=True), "w.end_tagged(at);"]
            o += self.block(f"tag{f.tag}", lines)
        return o

    def write_field(self, f, flexible, here, tagged=False):
        """Statements that write member f; `here`: the versions it is written in."""
        x, form = f"v.{f.member}", "flexible" if flexible else "classic"
        prefix = "compact_" if flexible and not f.classic_only else ""
        lengthy = f.is_array or f.type in LENGTH
        if not f.nullable:
            if f.is_array:
                return self.write_array(f, x, flexible)
            if f.struct:
                return [f"write_{form}(w, {x}, version);"]
            if lengthy:
                return [f"w.{prefix}{f.type}({x});"]
            return [f"w.{METHOD.get(f.type, f.type)}({x});"]
        value = f"*{x}"
        if f.is_array:
            present = self.write_array(f, f"(*{x})", flexible)
            null = f"w.{prefix}null_array();"
        elif f.struct:
            mark = "w.uvarint(1);" if tagged else "w.int8(1);"
            present = [mark, f"write_{form}(w, {value}, version);"]
            null = "w.uvarint(0);" if tagged else "w.int8(-1);"
        else:
            present = [f"w.{prefix}{f.type}({value});"]
            null = f"w.{prefix}null_{f.type}();"
        absent = [null]
        refused = here - f.nullable
        if refused:
            refuse = f'w.null_unsupported("{self.m.name}", "{f.name}", version);'
            absent = [null, *(self.block(self.guard(refused, here), [refuse], ""))]
        return [f"if ({x}.has_value()) {{", *("  " + p for p in present), "} else {",
                *("  " + a for a in absent), "}"]

    def write_array(self, f, x, flexible):
        form, prefix = ("flexible", "compact_") if flexible else ("classic", "")
        if f.struct:
            each = f"write_{form}(w, e, version);"
        elif f.type in LENGTH:
            each = f"w.{prefix}{f.type}(e);"
        else:
            each = f"w.{METHOD.get(f.type, f.type)}(e);"
        return [f"w.{prefix}count({x}.size());", f"for (const auto& e : {x}) {each}"]

    # -- reading ------------------------------------------------------------------------------

    def emit_read(self, s, flexible, where):
        o = [self.signature("read", s, flexible)]
        tagged = []
        for f in s.fields:
            here = f.versions & where
            if not here or (f.tag is not None and not flexible):
                continue
            if f.tag is not None:
                tagged.append(f)
            else:
                o += self.block(self.guard(here, where), self.read_field(f, flexible, here))
        if flexible:
            o += self.read_tagged(tagged, where)
        self.out += [*o, "}", ""]

    def read_tagged(self, fields, where):
        if not fields:
            return ["  r.skip_tagged_section();"]
        o = ["  for (uint32_t left = r.uvarint(); left > 0 && r.ok(); left--) {",
             "    const Reader::Tagged t = r.enter_tagged();",
             "    switch (t.tag) {"]
        for f in sorted(fields, key=lambda f: f.tag):
            here = f.versions & where
            guard = self.guard(here, where)
            body = self.read_field(f, True, here, tagged=True)
            if guard:
                body = [f"if ({guard}) {{", *("  " + b for b in body), "} else {",
                        "  r.skip_tagged(t);", "}"]
            o += [f"      case {f.tag}: {{", *(f"        {b}" for b in body), "        break;", "      }"]
        o += ["      default:", "        r.skip_tagged(t);", "    }", "    r.leave_tagged(t);", "  }"]
        return o

    def read_field(self, f, flexible, here, tagged=False):
        x, form = f"v.{f.member}", "flexible" if flexible else "classic"
        prefix = "compact_" if flexible and not f.classic_only and f.type in LENGTH else ""
        refused = here - f.nullable
        if f.is_array:
            return self.read_array(f, x, flexible, refused, here)
        if f.struct:
            if not f.nullable:
                return [f"read_{form}(r, {x}, version);"]
            present = "r.tagged_struct_present()" if tagged else "r.struct_present()"
            absent = [f"{x}.reset();", *self.refuse_null(f, refused, here)]
            return [f"if ({present}) {{", f"  read_{form}(r, {x}.emplace(), version);", "} else {",
                    *("  " + a for a in absent), "}"]
        if f.type == "records" and self.element(f) == "RecordsRef":
            kind = "records_ref"
        else:
            kind = METHOD.get(f.type, f.type)
        if not f.nullable:
            return [f"{x} = r.{prefix}{kind}();"]
        o = [f"{x} = r.{prefix}nullable_{kind}();"]
        if refused:
            guard = self.guard(refused, here)
            condition = f"!{x}.has_value()" + (f" && {guard}" if guard else "")
            o += self.block(condition, [f'r.refuse_null("{f.name}");'], "")
        return o

    def refuse_null(self, f, refused, here):
        if not refused:
            return []
        return self.block(self.guard(refused, here), [f'r.refuse_null("{f.name}");'], "")

    def read_array(self, f, x, flexible, refused, here):
        form, prefix = ("flexible", "compact_") if flexible else ("classic", "")
        if f.struct:
            smallest = self.smallest(f.struct, flexible)
            each = f"read_{form}(r, e, version);"
        else:
            smallest = FIXED.get(f.type) or LENGTH[f.type][flexible]
            each = f"e = r.{prefix if f.type in LENGTH else ''}{METHOD.get(f.type, f.type)}();"
        target = f"{x}.emplace()" if f.nullable else x
        o = [f"if (const int64_t n = r.{prefix}count({smallest}); n >= 0) {{",
             f"  for (auto& e : {target} = r.make_array<{self.qualified(f)}>(n)) {each}", "} else {"]
        if f.nullable:
            o += [f"  {x}.reset();", *("  " + a for a in self.refuse_null(f, refused, here))]
        else:
            o.append(f'  r.refuse_null("{f.name}");')
        return [*o, "}"]

    def smallest(self, s, flexible):
        """The least number of bytes an element can take, in any of its versions; at least 1."""
        where = s.used & self.m.flexible if flexible else s.used - self.m.flexible
        best = None
        for version in where:
            size = 1 if flexible else 0
            for f in s.fields:
                if version not in f.versions or f.tag is not None:
                    continue
                if f.is_array:
                    size += 1 if flexible else 4
                elif f.struct:
                    size += 1 if f.nullable else self.smallest(f.struct, flexible)
                else:
                    size += FIXED.get(f.type) or LENGTH[f.type][flexible and not f.classic_only]
            best = size if best is None else min(best, size)
        return max(best or 0, 1)

    # -- entry points -------------------------------------------------------------------------

    def emit_entry(self):
        m = self.m
        both = bool(m.flexible) and m.flexible != m.versions

        def call(verb, arg):
            flexible, classic = f"{verb}_flexible({arg}, *this, at_version);", \
                f"{verb}_classic({arg}, *this, at_version);"
            if both:
                return [f"  if (at_version >= kFirstFlexible) {flexible} else {classic}"]
            return [f"  {flexible if m.flexible else classic}"]
        check = "at_version < kMinVersion || at_version > kMaxVersion"
        self.out += [
            f"void {m.name}::encode(Writer& w, int16_t at_version) const {{",
            f"  if ({check}) return w.unsupported_version(kName, at_version);", *call("write", "w"), "}", "",
            f"Result<void> {m.name}::decode(Reader& r, int16_t at_version) {{",
            f"  if ({check}) return Reader::unsupported_version(kName, at_version);", *call("read", "r"),
            "  return r.result(kName, at_version);", "}", ""]


HEADER_TOP = """#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/result.h"
#include "base/uuid.h"
#include "wire/message.h"

namespace odradek::wire {
"""


def header_file(file):
    o = [f"// Generated by src/wire/gen/generate.py from {file.path.name}. Not kept in the source tree.",
         HEADER_TOP]
    for m in file.messages:
        if m.versions:
            o += [*Emitter(m).header(), ""]
    return "\n".join([*o, "}  // namespace odradek::wire", ""])


def source_file(files):
    o = ["// Generated by src/wire/gen/generate.py. Not kept in the source tree."]
    o += [f'#include "wire/gen/{f.stem}.h"' for f in files]
    o += ['#include "wire/reader.h"', '#include "wire/writer.h"', "", "namespace odradek::wire {", ""]
    for f in files:
        for m in f.messages:
            if m.versions:
                o += Emitter(m).source()
    return "\n".join([*o, "}  // namespace odradek::wire", ""])


assert set(CPP) | {"records"} == PRIMITIVES
