#!/usr/bin/env python3
#
# doc/check_links.py
# ~~~~~~~~~~~~~~~~~~
# Fails when a page links to a file or an anchor that is not there, names a path of
# the repository that does not exist, or has a backtick in its text: that was to be
# markup.
# Usage: check_links.py HTML
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#
import pathlib
import re
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent
PATH = re.compile(r"<code>((?:include|src|test|example|doc|cmake|detail)/[\w./-]+)</code>")


def main():
    root, bad, links, paths = pathlib.Path(sys.argv[1]).resolve(), 0, 0, 0
    pages = {p: p.read_text() for p in sorted(root.rglob("*.html"))}
    anchors = {p: set(re.findall(r'\bid="([^"]+)"', text)) for p, text in pages.items()}
    for page, text in pages.items():
        name = page.relative_to(root)
        for target in re.findall(r'<(?:a\b[^>]*\bhref|img\b[^>]*\bsrc)="([^"]+)"', text):
            if re.match(r"\w+:", target):
                continue
            links += 1
            file, _, anchor = target.partition("#")
            to = (page.parent / file).resolve() if file else page
            if not to.exists() or (anchor and to in anchors and anchor not in anchors[to]):
                print(f"{name}: the link {target} leads nowhere")
                bad += 1
        for path in re.findall(PATH, text):
            paths += 1
            base = REPO / "include/spindle" if path.startswith("detail/") else REPO
            if not (base / path).exists():
                print(f"{name}: there is no {path}")
                bad += 1
        text = re.sub(r"<(style|pre)\b.*?</\1>", "", text, flags=re.S)
        for around in re.findall(r"[^\n]{0,40}`[^\n]{0,40}", text):
            print(f"{name}: a backtick: {around}")
            bad += 1
    print(f"docs: {len(pages)} pages, {links} links, {paths} paths, {bad} faults")
    return 1 if bad or not pages else 0


sys.exit(main())
