"""The words of a caption, as the captioning benchmarks count them: Penn Treebank tokens.

The official scorers split captions with a Java program (pycocoevalcap's PTBTokenizer) and drop
punctuation. Training must see the same words, without Java; this is that splitting, written from
what the program was seen to answer. tests/data/test_vocabulary.py holds the two against each other.
"""

import functools
import re

# What the benchmarks drop. "!!" and "(" ("-lrb-") are not on their list and stay words.
DROPPED = frozenset(
    ["''", "'", "``", "`", '"', "-LRB-", "-RRB-", "-LCB-", "-RCB-"]
    + [".", "?", "!", ",", ":", "-", "--", "...", ";"]
)

_SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")  # \s: U+2028, \x85 and no-break spaces, too

_ASCII = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"')
    | dict.fromkeys("\u2013\u2014\u2015", " -- ")  # dashes
    | {"\u2010": "-", "\u2026": " ... ", "\ufffd": " ", "£": "#", "€": "$"}
    | {"½": " 1/2 ", "¼": " 1/4 ", "¾": " 3/4 "}
)
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&nbsp;", " "), ("&amp;", "&"))

_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}

_TWO_WORDS = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "lemme": ("lem", "me"),
    "gimme": ("gim", "me"),
    "'tis": ("'t", "is"),
    "'twas": ("'t", "was"),
}

# Abbreviations that keep their full stop, written in any way and only with a capital.
_ABBREVIATED = """
adj adm adv al apr approx ariz asst assoc assn atty aug ave bhd bldg blvd brig bros calif capt cf
cmdr co col colo corp cpl ct dec dept det dr drs ens esq est etc ext feb fla fri ft ga gen gmbh gov
hon inc ind insp intl jan jr jul jun ky lieut lt ltd maj mar messrs mfg minn mlle
mme mo mon mr mrs ms msgr mt natl neb nev nov oct okla penn ph plc pres prof profs pty pvt rd rep
rev sen sep sept sgt sq sr st supt tel tenn thu thurs treas tue tues univ va vs vt wed wis
"""
_ABBREVIATED_CAPITAL = "Ala Ark Conn Dak Del Ill Kan Mass Md Mich Miss Mont Pa Penna Tex Wash"


def _any_of(words: str) -> str:
    return "|".join(sorted(words.split(), key=len, reverse=True))


_L = r"[^\W\d_]"  # a letter
_A = r"[^\W_]"  # a letter or a digit
_TOKEN = re.compile(
    rf"""
      (?:https?://|www\.)[^\s"<>(){{}}]*[\w/]                 # an address
    | -(?i:[lr][rsc]b)-                                      # a bracket already split
    | {_A}[\w.+-]*@{_A}[\w-]*(?:\.{_A}+)+ | [@#]{_L}\w*
    | <[/!]?[A-Za-z][^<>\s]*>                                # a tag
    | [Nn][Oo]\.(?=\d)                                       # "no. 5"
    | (?:{_L}\.)+{_L}\.?-{_L}+ | {_L}+-(?:{_L}\.)+{_L}\.      # "u.s.-made", "non-u.s."
    | {_L}(?:\.{_L})+(?:\.(?!\w)|(?!\.?\w))                 # "t.v.", "u.s"
    | (?:(?i:ph)\.d|Ph\.D)\.?
    | {_L}+(?:\.{_L}+)+(?:-{_L}+)*(?!\w)(?!'\w|-)             # "table.two"
    | (?:(?i:{_any_of(_ABBREVIATED)})|{_any_of(_ABBREVIATED_CAPITAL)})\.(?!\w)
    | {_L}\.(?!\w)                                           # an initial: "p."
    | \d+(?:[.,/]\d+)?-{_L}+(?:-{_A}+)*
    | [+-]?\d*(?:[.:,]\d+)+(?![/-]\d) | \.\d+                # "11:20", "2.50", "10,000"
    | \d+(?:[./-]\d+)+(?!\w)                                 # "11.01.2009", "555-1212"
    | {_A}+(?:/{_A}+)+(?!\w)                              # "his/her"
    | {_A}+(?=/)
    | '\d\ds?(?!['\w])                                       # "'60s"
    | '(?i:n'(?={_L}|\W|$)|n(?!\w)|em(?!\w)|till?(?!\w)|cause(?!\w)|tis(?!\w)|twas(?!\w))
    | (?i:n't)(?!\w)
    | '(?i:s|m|d|re|ve|ll)(?!\w)
    | (?i:ol'|dunkin')(?!\w) | (?i:y')(?=all)
    | (?i:[odl]'{_L}{_L}+|s'mores|c'mon|nat'l|li'l)(?!\w)         # "o'clock", "hors d'oeuvres"
    | {_L}*[aeiouyAEIOUY]'[aeiouAEIOU]{_L}+(?!\w)            # "graffiti'ed"
    | {_A}+?(?=(?i:n't)(?!\w))                               # "do" of "don't"
    | {_L}+(?:[!?]{_L}+)+(?!\w)                              # "wow!wow"
    | [Cc]\+\+ | [A-Z]+(?:&[A-Z]+)+                                  # "M&M"
    | {_A}+(?:[-_]{_A}+)*(?:\.(?=[,;]))?                     # "t-shirt", "sink.,"
    | [+-]\d+
    | [!?]{{2,}} | --+ | __+ | \*\*+ | \.\.\. | ''
    | [:;=]-?[()]                                            # ":)"
    | [^\s]
    """,
    re.VERBOSE,
)


@functools.lru_cache(maxsize=1 << 17)
def _split(chunk: str) -> tuple[str, ...]:
    """The words of a piece of a caption that holds no space."""
    words: list[str] = []
    for token in _TOKEN.findall(chunk):
        token = token.lower()
        if token[0] in ":;=" and token[-1] in "()":
            words.append(token[:-1] + _BRACKETS[token[-1]])
        elif token in _TWO_WORDS:
            words.extend(_TWO_WORDS[token])
        elif token not in DROPPED and not (token.strip("-") == "" and len(token) < 5):
            words.append(_BRACKETS.get(token, token))
    return tuple(words)


def one_line(text: str) -> str:
    """A caption on one line: every run of whitespace and control characters is one space.

    The Java program counts U+2028, \\r, \\x85 and their like as new lines, and so would shift all
    later captions to the wrong image.
    """
    return _SPACES.sub(" ", text).strip(" ")


def tokenize(text: str) -> list[str]:
    """The words of a caption: lower-case, without punctuation, contractions split ("do n't").

    Parity with pycocoevalcap's PTBTokenizer: see tests/data/test_vocabulary.py. Text that holds
    nothing but punctuation has no words.
    """
    text = text.translate(_ASCII)
    if "&" in text:
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
    # Pieces recur from caption to caption: looking them up is ten times faster than splitting.
    return [word for chunk in _SPACES.sub(" ", text).split() for word in _split(chunk)]
