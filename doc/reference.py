#!/usr/bin/env python3
#
# doc/reference.py
# ~~~~~~~~~~~~~~~~
# Makes the reference from the comments of the public headers: one AsciiDoc page
# for each header, and an index. `///` is a brief line, the `/** */` behind it
# the body, `///<` a remark on a member.
# Usage: reference.py REPO OUT
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#
import pathlib
import re
import sys

MACROS = re.compile(r"\bSPINDLE_(DECL|CALLED_FROM_HERE|NOINLINE)\b ?")
SCOPE = re.compile(
    r"\b(class|struct|enum class|enum|namespace)\s+(?:\[\[\w+\]\]\s*)?([\w:]+)[^;(]*$")


class Entity:
    def __init__(self, brief, body, code, name, scope, remarks):
        self.brief, self.body, self.code = brief, body, code
        self.name, self.scope, self.remarks = name, scope, remarks


def strip_code(line):
    """A line without its comments and the text of its literals."""
    line = re.sub(r'"(\\.|[^"\\])*"', '""', line)
    line = re.sub(r"(?<!\w)'(\\.|[^'\\])'", "''", line)
    return line.split("//")[0]


def declaration(lines, at, in_enum):
    """What begins at lines[at], up to its `;` or its body; and where it ends."""
    text, depth, taken = "", 0, []
    for i in range(at, len(lines)):
        code = strip_code(lines[i])
        for j, c in enumerate(code):
            if c in "([":
                depth += 1
            elif c in ")]":
                depth -= 1
            elif depth == 0 and c == "{" and not re.search(
                    r"(=|\brequires requires *(\([^()]*\))?)\s*$", text):
                taken.append(code[:j])
                return "\n".join(taken), i
            elif depth == 0 and (c == ";" or (in_enum and c in ",}")):
                taken.append(code[:j] + (";" if c == ";" else ""))
                return "\n".join(taken), i
            elif c == "{":
                depth += 1
            elif c == "}":
                depth -= 1
            text += c
        taken.append(code.rstrip())
        text += "\n"
    sys.exit(f"reference.py: no end of the declaration in line {at + 1}")


def tidy(code):
    """A declaration as a user reads it: without macros, initialisers and bases."""
    code = MACROS.sub("", code)
    code = re.sub(r"(\)(?:\s*(?:const|noexcept))*)\s*:\s(?!:).*", r"\1", code, flags=re.S)
    code = re.sub(r"(\bclass \w+)\s*:\s.*", r"\1", code, flags=re.S)
    lines = [l for l in code.split("\n") if l.strip()]
    indent = min((len(l) - len(l.lstrip()) for l in lines), default=0)
    return "\n".join(l[indent:].rstrip() for l in lines)


def without_template(code):
    """What stands behind a `template <...>`."""
    found = re.match(r"template\s*<", code)
    if not found:
        return code
    depth = 0
    for i, c in enumerate(code):
        depth += (c == "<") - (c == ">")
        if c == ">" and depth == 0:
            return code[i + 1:].lstrip()
    return code


def name_of(code):
    found = SCOPE.search(without_template(code))
    if found and "(" not in code.split(found[2])[0].replace("[[", ""):
        return found[2], True
    flat = re.sub(r"\s+", " ", code)
    flat = flat.replace("decltype(auto)", "auto")
    flat = re.sub(r"\brequires requires ?(\([^()]*\))? ?\{[^{}]*\}", "", flat)
    flat = re.sub(r"\brequires ?\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", "", flat)
    while True:  # template parameters
        shorter = re.sub(r"<[^<>]*>", "", flat)
        if shorter == flat:
            break
        flat = shorter
    cut = flat.find(" = ")
    if cut >= 0 and "(" not in flat[:cut]:
        flat = flat[:cut]  # a variable and its value
    found = re.search(r"\busing (\w+)", flat)
    if found:
        return found[1], False
    if "operator bool" in flat:
        return "operator bool", False
    found = re.search(r"(operator ?(?:\[\]|[^\s\w]+)|~?\w+) ?\((?!\))", flat)
    found = found or re.search(r"(~?\w+) ?\(", flat)
    if found:
        return found[1].replace(" ", ""), False
    found = re.search(r"(\w+)\s*(?:=.*|\{.*)?;?$", flat)
    return (found[1] if found else flat), False


def entities(lines):
    depth, scopes, found, i = 0, [], [], 0
    while i < len(lines):
        line = lines[i].strip()
        if line.startswith("///") and not line.startswith("///<"):
            brief = []
            while lines[i].strip().startswith("///"):
                brief.append(lines[i].strip()[3:].strip())
                i += 1
            body = []
            if lines[i].strip().startswith("/**"):
                first = lines[i].strip()[3:].strip()
                if first:
                    body.append(first)
                i += 1
                while "*/" not in lines[i]:
                    body.append(re.sub(r"^\s*\* ?", "", lines[i].rstrip()))
                    i += 1
                i += 1
            in_enum = bool(scopes) and scopes[-1][2]
            code, end = declaration(lines, i, in_enum)
            code = tidy(code)
            name, opens = name_of(code)
            entity = Entity(" ".join(brief), body, code, name, [s[0] for s in scopes], [])
            found.append(entity)
            if opens and not code.rstrip().endswith(";"):
                entity.code += ";" if not code.startswith("namespace") else " { ... }"
                scopes.append((name, depth, code.startswith("enum"), entity))
            for k in range(i, end + 1):
                depth += strip_code(lines[k]).count("{") - strip_code(lines[k]).count("}")
            i = end + 1
        else:
            remark = re.match(r"\s*(.*?)\s*///<\s*(.*)", lines[i])
            if remark and scopes:
                scopes[-1][3].remarks.append((remark[1].rstrip(",;"), remark[2]))
            depth += strip_code(lines[i]).count("{") - strip_code(lines[i]).count("}")
            i += 1
        while scopes and depth <= scopes[-1][1]:
            scopes.pop()
    return found


def inline(text):
    text = re.sub(r"@e (\S+?)(?=[\s.,:]|$)", r"_\1_", text)
    text = text.replace("@n", " +")
    text = text.replace("C++", "{cpp}")
    return re.sub(r"`([^`]+)`", r"`+\1+`", text)


def snippet(repo, path, tag):
    text = (repo / "test" / path).read_text()
    found = re.search(rf"//! \[{tag}\]\n(.*?)\n\s*//! \[{tag}\]", text, re.S)
    if not found:
        return None
    lines = found[1].split("\n")
    indent = min(len(l) - len(l.lstrip()) for l in lines if l.strip())
    return [l[indent:] for l in lines]


def source(lines):
    return ["", "[source,cpp]", "----", *lines, "----", ""]


def render_body(repo, body):
    out, i = [], 0
    while i < len(body):
        line = body[i]
        if line.strip() == "@code":
            end = next(k for k in range(i, len(body)) if body[k].strip() == "@endcode")
            out += source(body[i + 1:end])
            i = end
        elif line.startswith("@snippet"):
            _, path, tag = line.split()
            code = snippet(repo, path, tag)
            if code:
                out += source(code)
            elif out and out[-1] == "*Example*":
                del out[-1]
        elif line.startswith("@par "):
            out += ["", f"*{inline(line[5:].strip())}*", ""]
            if not (i + 1 < len(body) and re.match(r"@(code|snippet)", body[i + 1].strip())):
                out[-1:] = []
                out[-1] += "::"
        elif found := re.match(r"@param (\w+)\s*(.*)", line):
            out += ["", f"`{found[1]}`::", inline(found[2])]
        elif found := re.match(r"@(throws|pre|post|note|returns?)\b\s*(.*)", line):
            title = {"throws": "Throws", "pre": "Precondition", "post": "Postcondition",
                     "note": "Note"}.get(found[1], "Returns")
            text = re.sub(r"^((?:[\w:]+::)?system_error)\b", r"`\1`", found[2])
            out += ["", f"*{title}*::", inline(text)]
        elif line.startswith("|"):
            rows = []
            while i < len(body) and body[i].startswith("|"):
                rows.append([inline(c.strip()) for c in body[i].strip("|").split("|")])
                i += 1
            out += ["", "[options=header]", "|==="]
            out += ["| " + " | ".join(r) for r in rows if not set("".join(r)) <= {"-"}]
            out += ["|===", ""]
            continue
        else:
            out.append(inline(line))
        i += 1
    return out


def page(repo, path):
    text = path.read_text()
    rel = path.relative_to(repo / "include").as_posix()
    lines = text.split("\n")
    banner = []
    for line in lines[3:]:
        if not line.startswith("// ") or "Distributed under" in line:
            break
        banner.append(line[3:])
    out = [f"= <{rel}>", ":toc: right", ":source-highlighter: none", ""]
    if banner:
        out += [inline(" ".join(banner)), ""]
    out += [*source([f"#include <{rel}>"]), f"Source: `include/{rel}`", ""]
    found = entities(lines)
    for e in found:
        level = 2 + len(e.scope)
        title = "::".join([*e.scope[-1:], e.name])
        special = re.match(rf"(?:class|struct) {re.escape(e.name)}(<[^{{;:]*>)",
                           without_template(e.code))
        title += special[1] if special else ""
        out += ["", f"{'=' * level} {inline(f'`{title}`')}", "", inline(e.brief), ""]
        out += source(e.code.split("\n"))
        if e.remarks:
            out += ["[cols=\"2,3\"]", "|==="]
            for code, remark in e.remarks:
                out += [f"| `+{code}+`", f"| {inline(remark)}"]
            out += ["|===", ""]
        out += render_body(repo, e.body)
    if not found:
        macros = re.findall(r"((?:^// [^\n]*\n)+)#define (\w+)", text, re.M)
        for comment, name in macros:
            out += ["", f"== `{name}`", "", inline(re.sub(r"^// ", "", comment, flags=re.M))]
    named = [e for e in found if e.name == path.stem] or found
    briefs = banner or [e.brief for e in named[:1]]
    return "\n".join(out) + "\n", inline(" ".join(briefs)), len(found)


def main():
    repo, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    top = repo / "include" / "spindle"
    headers = sorted(p for p in top.rglob("*.hpp") if "detail" not in p.relative_to(top).parts)
    if not headers:
        sys.exit("reference.py: found no public headers")
    index = ["= Reference", "", "One page for each public header, made from its comments by "
             "`doc/reference.py`. `<spindle.hpp>` includes them all.", "", "[cols=\"2,5\"]", "|==="]
    total = 0
    for path in headers:
        rel = path.relative_to(top).with_suffix(".adoc").as_posix()
        text, brief, count = page(repo, path)
        total += count
        target = out / rel
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        brief = brief or "Forward declarations."
        index += [f"| xref:{rel}[`spindle/{rel[:-5]}.hpp`]", f"| {brief}"]
    index += ["|==="]
    (out / "index.adoc").write_text("\n".join(index) + "\n")
    print(f"reference: {len(headers)} headers, {total} entries")


main()
