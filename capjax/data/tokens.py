"""The words of a caption, as the captioning benchmarks count them: Penn Treebank tokens.

The official scorers split captions with a Java program (pycocoevalcap's PTBTokenizer) and drop
punctuation. Training must see the same words, without Java; this is that splitting, written from
what the program was seen to answer. tests/data/test_tokens.py holds the two against each other.

The rules are the program's for any script, and so are its limits: words are what spaces part, so
that a caption in Chinese, Japanese, Thai, Lao or Khmer is one word unless it is segmented before,
and a character that it does not know parts words (capjax.data.characters).
"""

import functools
import re

from capjax.data.characters import HYPHEN, KINDS, LOWERED, MARK, POINT, QUOTES, RAISED
from capjax.errors import InputError

# What the benchmarks drop. "!!" and "(" ("-lrb-") are not on their list and stay words.
DROPPED = frozenset(
    ["''", "'", "``", "`", '"', "-LRB-", "-RRB-", "-LCB-", "-RCB-"]
    + [".", "?", "!", ",", ":", "-", "--", "...", ";"]
)

_SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")  # \s: U+2028, \x85 and no-break spaces, too

_AS_JAVA_WRITES = {  # before it is split
    **str.maketrans(
        dict.fromkeys("\u2013\u2014\u2015", " -- ")  # dashes
        | {"\u00ad": "", "\u2026": " ... ", "\ufffd": " "}  # U+AD: a soft hyphen
        | {"\u00a2": " cents ", "\u00a3": " # "}
        | dict.fromkeys("\u00a4\u20a0\u20ac", "$")  # currencies, the euro
        | {"\u00bc": " 1/4 ", "\u00bd": " 1/2 ", "\u00be": " 3/4 "}
        | {"\u2153": " 1/3 ", "\u2154": " 2/3 "}
    ),
    **dict.fromkeys(range(0xD800, 0xE000), "?"),  # half a character
}
_QUOTES = str.maketrans(  # as Java writes them
    dict.fromkeys("\u2019\u203a", "'")
    | dict.fromkeys("\u2018\u201b\u2039", "`")
    | dict.fromkeys("\u201c\u00ab", "``")
    | dict.fromkeys("\u201d\u00bb", "''")
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

_QUOTED = frozenset(QUOTES + "'`")
_CONTRACTION = re.compile("n.t|\u2019(?:s|m|d|re|ve|ll)", re.IGNORECASE)

# Abbreviations that keep their full stop, written in any way and only with a capital.
_ABBREVIATED = """
adj adm adv al apr approx ariz asst assoc assn atty aug ave bhd bldg blvd brig bros calif capt cf
cmdr co col colo corp cpl ct dec dept det dr drs ens esq est etc ext feb fla fri ft ga gen gmbh gov
hon inc ind insp intl jan jr jul jun ky lieut lt ltd maj mar messrs mfg minn mlle
mme mo mon mr mrs ms msgr mt natl neb nev nov oct okla penn ph plc pres prof profs pty pvt rd rep
rev sen sep sept sgt sq sr st supt tel tenn thu thurs treas tue tues univ va vs vt wed wis
"""
_ABBREVIATED_CAPITAL = "Ala Ark Conn Dak Del Ill Kan Mass Md Mich Miss Mont Pa Penna Tex Wash"
ABBREVIATIONS = frozenset(_ABBREVIATED.split())


def _any_of(words: str) -> str:
    return "|".join(sorted(words.split(), key=len, reverse=True))


# Rules are written for characters that stand for their kind (`characters.KINDS`).
_L = r"[^\W\d_]"  # a letter
_A = r"[^\W_]"  # a letter or a digit
_E, _EN = "[A-Za-z]", "[A-Za-z0-9]"  # those of English only
_Q = r"['`\u2018\u2019\u201b]"  # an apostrophe
_TOKEN = rf"""
      (?:https?://|www\.)[^\s"<>(){{}}]*[\w/]                   # an address
    | -(?i:[lr][rsc]b)-                                         # a bracket already split
    | {_A}[\w.+-]*@{_A}[\w-]*(?:\.{_A}+)+ | [@#]{_L}\w*
    | <[/!]?[A-Za-z][^<>\s]*>                                   # a tag
    | [Nn][Oo]\.(?=\d)                                          # "no. 5"
    | (?:{_E}\.)+{_E}\.?-{_L}+ | {_L}+-(?:{_E}\.)+{_E}\.        # "u.s.-made", "non-u.s."
    | {_E}(?:\.{_E})+(?:\.(?!\w)|(?!\.?\w))                     # "t.v.", "u.s"
    | (?:(?i:ph)\.d|Ph\.D)\.?
    | {_L}+(?:\.{_L}+)+(?:-{_L}+)*(?!\w)(?!'\w|-)               # "table.two"
    | (?:(?i:{_any_of(_ABBREVIATED)})|{_any_of(_ABBREVIATED_CAPITAL)})\.(?!\w)
    | {_E}\.(?![^\W\d])                                         # an initial: "p."
    | \d+(?:[.,/]\d+)?-{_L}{_A}*(?:[-{HYPHEN}]{_A}+)*
    | [+-]?\d*(?:[.:,{POINT}]\d+)+(?![/-]\d)
    | [.{POINT}]\d+                                             # "11:20", "2.50", "10,000"
    | \d+(?:[./-]\d+)+(?!\w)                                    # "11.01.2009", "555-1212"
    | \d+\u2044\d+                                              # a fraction
    | {_EN}+(?:/{_EN}+)+(?!\w)                                  # "his/her"
    | {_A}+(?=/)
    | ['\u2019][0-9]{{2}}s?(?!['\u2019\w])                      # "'60s"
    | '(?i:n'(?={_L}|\W|$)|n(?!\w)|em(?!\w)|till?(?!\w)|cause(?!\w)|tis(?!\w)|twas(?!\w))
    | \u2019(?i:n['\u2019]?|em|till?|cause|s|m|d|re|ve|ll)
    | (?i:n{_Q}t)(?!\w)
    | '(?i:s|m|d|re|ve|ll)(?!\w)
    | (?i:(?:ol|dunkin)['\u2019])(?!\w) | (?i:y['\u2019])(?=all)
    | (?i:s'mores|c'mon|nat'l|li'l|e'er|ev'ry|nor'easter)(?!\w)
    | (?i:[odl]{_Q}){_A}{_A}+(?:[-_{HYPHEN}](?:(?i:[odl]{_Q}){_A})?{_A}+)*  # "o'clock"
    | (?i:c['\u2019]est)(?!\w) | (?!n{_Q}ll)[A-HJ-XZn]{_Q}{_L}{_L}+(?!\w)  # "n'est pas"
    | {_L}+[aeiouyAEIOUY]{_Q}[aeiouAEIOU]{_L}+(?!\w)            # "graffiti'ed"
    | [LlDdJj]['\u2019](?!(?i:[smd]|re|ve|ll))                  # "j'ai"
    | {_A}+?(?=(?i:n{_Q}t)(?!\w))                               # "do" of "don't"
    | {_L}+(?:[!?]{_L}+)+(?!\w)                                 # "wow!wow"
    | {_L}+\d{_A}*(?:[.!?]{_L}{_A}*)+ | {_L}+(?:[.!?]{_L}+)+\d{_A}*(?:[.!?]{_L}{_A}*)*  # "a1.b2"
    | [Cc]\+\+ | [A-Z]+(?:&[A-Z]+)+                             # "M&M"
    | {_A}+(?:[-_{HYPHEN}](?:(?i:[odl]{_Q}){_A})?{_A}+)*(?:\.(?=[,;\u3001]))?  # "t-shirt"
    | [+-]\d+
    | [!?]{{2,}} | --+ | __+ | \*\*+ | \.\.\. | '' | [`{QUOTES}]{{2}}
    | [:;=]-?[()]                                               # ":)"
    | {RAISED}+ | {LOWERED}+ | [^\s{HYPHEN}{POINT}]
"""


# A word that holds a mark: full stops join it and hyphens do not.
_MARKED = (
    rf"(?:{_L}{_A}*(?:[.!?]{_L}{_A}*)*[.!?]?)? {MARK} (?:{MARK}|{_A})*"
    rf"(?:[.!?](?:{MARK}|{_L})(?:{MARK}|{_A})*)* (?:\.(?=[,;\u3001]))?"
)


@functools.cache
def _pattern(of_ascii: bool) -> re.Pattern[str]:
    """Made when it is first asked for; English never looks for marks."""
    return re.compile(_TOKEN if of_ascii else f"{_MARKED} | {_TOKEN}", re.VERBOSE)


@functools.lru_cache(maxsize=1 << 17)
def _split(chunk: str) -> tuple[str, ...]:
    """The words of a piece of a caption that holds no space."""
    if chunk.isascii():
        tokens = _pattern(True).findall(chunk)
    else:
        matches = _pattern(False).finditer(chunk.translate(KINDS))
        tokens = [_as_java_writes(chunk[token.start() : token.end()]) for token in matches]
    words: list[str] = []
    for token in tokens:
        token = token.lower()
        if token[0] in ":;=" and token[-1] in "()":
            words.append(token[:-1] + _BRACKETS[token[-1]])
        elif token in _TWO_WORDS:
            words.extend(_TWO_WORDS[token])
        elif token not in DROPPED and not (token.strip("-") == "" and len(token) < 5):
            words.append(_BRACKETS.get(token, token))
    return tuple(words)


def _as_java_writes(token: str) -> str:
    """Quotation marks in ASCII, and a contraction's apostrophe; that of "l\u2019eau" stays."""
    if "\u03a3" in token:  # a capital sigma: for Java its word ends where the hyphens end
        token = token.replace("-", "\u00ad").lower().replace("\u00ad", "-")
    straight = _QUOTED.issuperset(token) or _CONTRACTION.fullmatch(token)
    return token.translate(_QUOTES) if straight else token


def one_line(text: str) -> str:
    """A caption on one line: every run of whitespace and control characters is one space.

    The Java program counts U+2028, \\r, \\x85 and their like as new lines, and so would shift all
    later captions to the wrong image.
    """
    return _SPACES.sub(" ", text).strip(" ")


def tokenize(text: str) -> list[str]:
    """The words of a caption: lower-case, without punctuation, contractions split ("do n't").

    Parity with pycocoevalcap's PTBTokenizer: see tests/data/test_tokens.py. Text that holds
    nothing but punctuation, or characters that program does not know, has no words.

    Raises:
      InputError: what is given is not one text.
    """
    if not isinstance(text, str):
        raise InputError(f"tokenize takes one caption as text, not a {type(text).__name__}")
    if not text.isascii():
        text = text.translate(_AS_JAVA_WRITES)
    if "&" in text:
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
    # Pieces recur from caption to caption: looking them up is ten times faster than splitting.
    return [word for chunk in _SPACES.sub(" ", text).split() for word in _split(chunk)]
