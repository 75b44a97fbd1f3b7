"""The manual pages as tests read them: mdoc(7) source, no more of it than our
pages use."""

import re

from hermes_wire import ROOT

PAGES = sorted((ROOT / "man").glob("*.[0-9]"))


def source(name):
    return (ROOT / "man" / name).read_text()


def part(text, title, macro="Sh"):
    """The lines of a section or subsection."""
    ends = r"^\.Sh |" if macro == "Sh" else r"^\.S[hs] |"
    found = re.search(rf"^\.{macro} {re.escape(title)}\n(.*?)(?={ends}\Z)",
                      text, re.M | re.S)
    assert found, title
    return found[1]


def titles(text, macro="Sh"):
    return re.findall(rf"^\.{macro} (.*)$", text, re.M)


def headings(text):
    """The heads of list items, each as one line: `.It` with what follows in
    it, `.It Xo` up to `.Xc`."""
    lines, heads = text.splitlines(), []
    for i, line in enumerate(lines):
        if line == ".It Xo":
            end = lines.index(".Xc", i)
            heads.append(" ".join(l.lstrip(".") for l in lines[i + 1:end]))
        elif line.startswith(".It "):
            heads.append(line[4:])
    return heads


def flags(head):
    """The options in a head: `Fl -ttl` is --ttl, `Fl n` is -n."""
    found, after = set(), False
    for token in head.split():
        if token == "Fl":
            after = True
        elif re.fullmatch(r"[A-Z][a-z]", token):
            after = False
        elif after and re.fullmatch(r"[-\w]+", token):
            found.add(f"-{token}")
    return found


def words(head):
    """The command words that a head begins with: `Ic show apps` is that."""
    found = re.match(r"Ic ((?:[a-z][a-z-]* ?)+)", head)
    return found[1].strip() if found else ""


def keys(text, title):
    """The keys of a JSON object: the items of its subsection."""
    return {key for head in headings(part(text, title, "Ss"))
            for key in re.sub(r"^Cm ", "", head).split(" , ")}
