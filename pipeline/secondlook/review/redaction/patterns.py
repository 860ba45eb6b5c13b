"""How personal data is written: one table of patterns.

A pattern of score :data:`SURE` is enough by itself. One of score :data:`DOUBTFUL` is enough only where one of its
context words stands near. Every quantifier is bounded, so that no text takes longer than its length; where a pattern
has ``\\K``, what stands before it is looked for and stays.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

SURE = 0.6
DOUBTFUL = 0.2


class Identifier(StrEnum):
    """What a stretch of a narrative says of somebody; the value is what stands in its place."""

    PERSON = "PERSON"
    PHONE = "PHONE"
    EMAIL = "EMAIL"
    ADDRESS = "ADDRESS"
    POSTCODE = "POSTCODE"
    NATIONAL_INSURANCE = "NATIONAL INSURANCE NUMBER"
    SOCIAL_SECURITY = "SOCIAL SECURITY NUMBER"
    OFFICER_NUMBER = "OFFICER NUMBER"
    DATE_OF_BIRTH = "DATE OF BIRTH"
    PLATE = "PLATE"
    ONLINE = "ONLINE"
    BANK = "BANK"
    DOCUMENT = "DOCUMENT"
    REFERENCE = "REFERENCE"


class Way(NamedTuple):
    """One way of writing an identifier, with the words that speak for it if it is doubtful."""

    identifier: Identifier
    regex: str
    score: float = SURE
    context: tuple[str, ...] = ()


def _way(identifier: Identifier, *parts: str, score: float = SURE, context: tuple[str, ...] = ()) -> Way:
    """A way that begins and ends where a word does."""
    return Way(identifier, r"(?<!\w)" + "".join(parts) + r"(?!\w)", score, context)


def _doubtful(identifier: Identifier, *parts: str, context: tuple[str, ...]) -> Way:
    return _way(identifier, *parts, score=DOUBTFUL, context=context)


_DASH = r"\-‐‑–"
_NO_DATE = rf"(?!\d{{1,2}}[./{_DASH}]\d{{1,2}}[./{_DASH}]\d)"
_IN_PHONE = rf"[ ()\[\]./{_DASH}]{{0,3}}"
_EXTENSION = r"(?:[ ,]{0,2}(?i:extension|extn?|x)\.? ?\d{1,6})?"
_SPOKEN = r"(?i:zero|oh|nought|one|two|three|four|five|six|seven|eight|nine|double|treble|triple|hundred)"
_TELEPHONE = (
    "phone",
    "phoned",
    "telephone",
    "tel",
    "cell",
    "mobile",
    "number",
    "call",
    "called",
    "ring",
    "rang",
    "text",
)

_DAY = r"(?:3[01]|[12]\d|0?[1-9])"
_MONTH = (
    r"(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_YEAR = r"(?:['’]?\d{2}|(?:19|20)\d{2})"
_BIRTH = ("dob", "dob.", "d.o.b", "d.o.b.", "born", "birth", "birthday", "birthdate", "b.")

_STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]"
    r"|W[AIVY]|PR|Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho"
    r"|Illinois|Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi"
    r"|Missouri|Montana|Nebraska|Nevada|Hampshire|Jersey|Mexico|York|Carolina|Dakota|Ohio|Oklahoma|Oregon|Pennsylvania"
    r"|Rhode Island|Tennessee|Texas|Utah|Vermont|Virginia|Washington|Wisconsin|Wyoming)"
)
_STREET = (
    r"(?i:street|str?|road|rd|avenue|ave?|lane|ln|drive|dr|close|crescent|cres|terrace|terr|place|pl|court|ct|way|walk"
    r"|grove|gardens|gdns|hill|rise|mews|row|square|sq|parade|park|green|view|boulevard|blvd|highway|hwy|parkway|pkwy"
    r"|circle|trail|turnpike|loop|alley|quay|wharf|wynd|vale|croft|fields|gate)\b\.?"
)
_ANY_STREET = r"(?:Street|Road|Rd|Avenue|Ave|Lane|Crescent|Terrace|Drive|Boulevard|Blvd|Grove|Mews)\b"
_UNIT = r"(?i:flat|apartment|apt|unit|suite|ste|room|rm)\b\.? ?#?\d{1,4}[A-Za-z]?"
_CAPITALISED = r"(?:\p{Lu}[\w'’\-]{0,24}\.?|\d{1,3}(?i:st|nd|rd|th)|(?i:of|the))"
_NAME = r"\p{Lu}[\w'’\-]{1,24}"
_NO_COURT = (
    r"(?!(?:\S{1,24} ){0,2}(?i:crown|county|high|magistrates['’]?|district|supreme|superior|family|youth) (?i:court))"
)
_MEASURE = (
    r"(?:minutes?|mins?|hours?|hrs?|miles?|yards?|days?|weeks?|months?|years?|times|people|men|women|officers|cars"
    r"|doors|houses|of|the|to|in|on|at|and|or|from|by|more|other)\b"
)
_HOUSE_NUMBER = (
    rf"(?:(?<![:.])[1-9]\d{{0,4}}[A-Za-z]?(?:[-–/]\d{{1,4}})?|(?i:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen"
    r"|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
    rf"(?:[ \-](?:one|two|three|four|five|six|seven|eight|nine))?)),? (?!{_MONTH}\b|(?:MINS?|MILES?|HOURS?|YARDS)\b)"
)

_LABEL = r"(?: (?i:ref(?:erence)?|no|num|number|id)\b\.?){1,2}[:# ]{1,3}"
_CODE = r"(?=[\w/:\-]{0,24}\d)#?\w[\w/:\-]{0,24}\b"
_RANK = (
    r"(?:(?:W?P\.?C\.?|Pc|P\.c|PCSO|DC|DS|DI|PS|SC|SPC|TDC|Sgt|SGT|Insp|Det|Con|Cst|Lt|Cpl|Capt|Ofcr?|Dep)\.? ?"
    r"|pc (?=\d{3})|(?i:sergeant|constable|detective|trooper),? )"
)
_NUMBERED_RANK = r"(?:PC|WPC|PCSO|DC|DS|PS|Sgt|Constable|Sergeant|Officer|Deputy)\.?"
_SMALL_WORD = r"(?i:am|as|at|by|he|is|me|my|no|of|on|or|pc|so|to|up|us|we)"
_VEHICLE = (
    "plate", "plates", "numberplate", "reg", "reg.", "registration", "registered", "vrm", "index", "tag", "tags",
    "licence", "license", "car", "van", "vehicle",
)  # fmt: skip
_LICENCE = ("driver", "drivers", "driving", "licence", "license")
_IN_LINK = r"[^\s<>\"'()\[\]]"
_PLATFORM = r"(?i:instagram|insta|snapchat|facebook|fb|tiktok|twitter|reddit|discord|telegram|whatsapp)"

WAYS = (
    # Telephone: the United Kingdom, then North America, then any with its country's code, then spoken digits.
    _way(
        Identifier.PHONE,
        rf"(?<!\+)(?<!\d[-/.]){_NO_DATE}(?:(?:\+|00)?44{_IN_PHONE}(?:\(0\){_IN_PHONE})?|[(\[]?[0O][)\]]?)",
        rf"[1-9](?:{_IN_PHONE}\d){{8,9}}{_EXTENSION}",
    ),
    _way(
        Identifier.PHONE,
        rf"(?<!\+)(?<!\d[-/.])(?:\+?1{_IN_PHONE})?(?:\([2-9]\d{{2}}\) {{0,2}}|[2-9]\d{{2}}[ ./{_DASH}]{{1,3}})",
        rf"[2-9]\d{{2}}[ .{_DASH}]{{1,3}}\d{{4}}{_EXTENSION}",
    ),
    _way(Identifier.PHONE, r"(?<!\+)(?:\+?1)?[2-9]\d{2}[2-9]\d{6}"),
    _way(Identifier.PHONE, rf"(?<!\d[-/.])[2-9]\d{{2}}[{_DASH}]\d{{4}}{_EXTENSION}(?!-)"),
    _doubtful(Identifier.PHONE, r"[2-9]\d{2}[ .]?\d{4}", context=_TELEPHONE),
    _way(Identifier.PHONE, rf"\+[1-9](?:{_IN_PHONE}\d){{7,14}}{_EXTENSION}"),
    _way(Identifier.PHONE, rf"(?:{_SPOKEN}[ ,\-]{{1,2}}){{6,14}}{_SPOKEN}"),
    Way(
        Identifier.EMAIL,
        r"(?<![\w.+\-])[\w.+'%\-]{1,64}(?: ?@ ?| ?[(\[](?i:at)[)\]] ?)"
        r"(?:[\w\-]{1,63}(?:\.| ?[(\[](?i:dot)[)\]] ?|,(?=com\b|org\b|net\b|co\.))){1,8}\p{L}{2,24}(?!\w)",
    ),
    Way(Identifier.EMAIL, r"(?<![\w.+\-])[\w.+'%\-]{1,64}(?i: at )(?:[\w\-]{1,63}(?i: dot )){1,4}\p{L}{2,24}(?!\w)"),
    # Addresses: a number and a street, with the flat before or after; other ways of naming a house; a street.
    _way(
        Identifier.ADDRESS,
        rf"(?:{_UNIT},? )?{_HOUSE_NUMBER}{_NO_COURT}(?:{_CAPITALISED} ){{1,4}}{_STREET}(?: \d{{1,4}}\b)?",
        rf"(?:,? {_UNIT})?",
    ),
    _way(
        Identifier.ADDRESS,
        rf"\d{{1,4}}[a-z]? (?!{_MEASURE}|{_MONTH}\b)(?:[a-z'’]{{3,20}} ){{1,2}}",
        r"(?:road|street|lane|avenue|close|drive|crescent|terrace)",
    ),
    _way(Identifier.ADDRESS, rf"{_UNIT},? (?:{_CAPITALISED} ){{1,3}}(?:{_STREET}|House|Tower|Lodge)"),
    _way(Identifier.ADDRESS, rf"{_UNIT},? \d{{1,5}} {_NAME}"),
    _way(Identifier.ADDRESS, r"House \d{1,4},? Block [A-Z\d]{1,3}"),
    _way(
        Identifier.ADDRESS,
        rf"(?:{_NAME} ){{1,2}}(?:Cottage|Farm|Bungalow|Villa|Barn)(?:, (?:{_NAME} ){{1,2}}{_STREET})?",
    ),
    _way(Identifier.ADDRESS, rf"(?!The |In |At |On |From |This |That |Our |My ){_NAME} (?:{_NAME} )?{_ANY_STREET}"),
    _way(Identifier.ADDRESS, r"(?i:P\.? ?O\.? box|(?:rural route|RR) \d{1,3},? box) \d{1,6}"),
    _way(
        Identifier.POSTCODE,
        r"(?i:GIR ?0AA|[A-PR-UWYZ][A-HK-Y]?\d[\dA-Z]?[ \-]{0,2}(?!\d(?:st|nd|rd|th))\d[ABD-HJLNP-UW-Z]{2})",
    ),
    _way(Identifier.POSTCODE, rf"{_STATE}[ ,]{{1,2}}\K\d{{5}}(?:-\d{{4}})?"),
    _way(Identifier.POSTCODE, r"\d{5}-\d{4}"),
    _doubtful(Identifier.POSTCODE, r"\d{5}", context=("zip", "zipcode", "postcode", "postal")),
    # In small letters words such as "on" and "a" stand around numbers, too: there the letters stand close.
    _way(Identifier.NATIONAL_INSURANCE, r"[A-Z] ?[A-Z](?:[ .\-]?\d){6}[ .\-]?[A-D]"),
    _way(
        Identifier.NATIONAL_INSURANCE,
        rf"(?!{_SMALL_WORD})(?i:[A-Z]{{2}}(?:[ .\-]?\d\d){{3}}[ .\-]?[A-D])",
    ),
    _doubtful(Identifier.NATIONAL_INSURANCE, r"[A-Z]{2} ?\d{6}", context=("insurance", "ni", "nino")),
    _way(Identifier.SOCIAL_SECURITY, rf"(?<!\d[-/.])\d{{3}}(?: ?[{_DASH}] ?\d{{2}} ?[{_DASH}] ?| \d{{2}} )\d{{4}}"),
    _way(Identifier.SOCIAL_SECURITY, r"(?i:[x*]{3})-(?i:[x*]{2})-\K\d{4}"),
    _doubtful(
        Identifier.SOCIAL_SECURITY,
        rf"\d{{3}}[ .{_DASH}]{{0,2}}\d{{2}}[ .{_DASH}]{{0,2}}\d{{4}}",
        context=("ssn", "social", "ss"),
    ),
    # Officers: the rank stays, so that a reader knows who spoke.
    _way(Identifier.OFFICER_NUMBER, _RANK, r"\K#?[A-Z]{0,2}\d{1,6}[A-Z]{0,2}"),
    _way(Identifier.OFFICER_NUMBER, _NUMBERED_RANK, rf" (?:{_NAME} ){{1,2}}[(#]{{1,2}}\K\d{{2,6}}"),
    _way(Identifier.OFFICER_NUMBER, rf"(?<!\d[:.])\d{{2,6}}(?= {_NUMBERED_RANK}(?![:\w]| \w))"),
    _way(Identifier.OFFICER_NUMBER, r"(?i:officer|inspector|deputy|agent) \K(?:#\d{1,6}|\d{3,6})"),
    _way(
        Identifier.OFFICER_NUMBER,
        r"(?i:(?:badge|collar|shoulder|shield|warrant|epaulettes?|serial|star no|star number)",
        r"(?: (?:no|number|num|reads?|said|was|is)\b)?\.?)[ :]{0,3}\K#?[A-Z]{0,3}-?\d{1,7}[A-Z]{0,2}",
    ),
    # Dates are of birth where a word says so; all others say when something happened, and stay.
    _doubtful(
        Identifier.DATE_OF_BIRTH,
        rf"(?:{_DAY} ?[/.\-] ?{_DAY} ?[/.\-] ?{_YEAR}|(?:19|20)\d{{2}}[/.\-]{_DAY}[/.\-]{_DAY}",
        r"|[0-3]\d[01]\d(?:19|20)\d{2})",
        context=_BIRTH,
    ),
    _doubtful(
        Identifier.DATE_OF_BIRTH,
        rf"{_DAY}(?:st|nd|rd|th)?[ \-]?(?:of )?{_MONTH}(?:[ \-.,]{{0,2}}{_YEAR})?",
        context=_BIRTH,
    ),
    _doubtful(
        Identifier.DATE_OF_BIRTH,
        rf"{_MONTH}\.? {_DAY}(?:st|nd|rd|th)?(?:,? (?:19|20)\d{{2}})?",
        context=_BIRTH,
    ),
    _way(Identifier.DATE_OF_BIRTH, rf"(?i:born) in \K(?:{_MONTH}\.? )?(?:19|20)\d{{2}}"),
    # Plates: British ones since 2001 and Californian ones speak for themselves.
    _way(Identifier.PLATE, rf"(?!{_SMALL_WORD} )[A-HJ-PR-Y]{{2}}[ \-]?\d{{2}}[ \-]?[A-HJ-PR-Z]{{3}}"),
    _way(Identifier.PLATE, r"(?:[a-hj-pr-y]{2}\d{2} ?[a-hj-pr-z]{3}|(?i:[A-HJ-PR-Y]{2}\d{2}[A-HJ-PR-Z]{3}))"),
    _way(Identifier.PLATE, r"\d[A-Z]{3}\d{3}"),
    _doubtful(
        Identifier.PLATE,
        rf"(?<![:.])(?!{_SMALL_WORD} |IN |NOW )",
        r"(?:[A-Z]\d{1,3} ?[A-Z]{3}|[A-Z]{3} ?\d{1,3}[A-Z]|[A-Z]{2,3}[ \-]?\d{2,4}|\d{2,4}[ \-]?[A-Z]{2,3}",
        r"|(?=\w{0,2}\d)[A-Z0-9]{3}[ \-]?(?=\w{0,3}\d)[A-Z0-9]{3,4})",
        context=_VEHICLE,
    ),
    _way(Identifier.ONLINE, rf"(?i:h(?:tt|xx)ps?://|www\.){_IN_LINK}{{0,1000}}[\w/]"),
    Way(
        Identifier.ONLINE,
        r"(?<![\w.@\-])(?i:(?:[\w\-]{1,63}\.){1,4}(?:com|org|net|edu|gov|co\.uk|org\.uk|gov\.uk|[a-z]{2,6}(?=/\w)))\b"
        rf"(?:/{_IN_LINK}{{0,500}}[\w/])?",
    ),
    Way(Identifier.ONLINE, r"(?<![\w.@])@[A-Za-z_][\w.]{0,29}\w(?!\w)"),
    _way(Identifier.ONLINE, r"u/\w{3,20}"),
    _way(
        Identifier.ONLINE,
        _PLATFORM,
        r"(?: (?i:name|user|username|account|handle|profile))?[: ]{1,2}\K(?=[\w.]{0,29}[\d_.]\w)[\w.]{2,29}\w",
    ),
    _way(Identifier.ONLINE, _PLATFORM, rf"(?: (?i:name|user|profile)): \K{_NAME}(?: {_NAME})?"),
    _way(Identifier.BANK, r"\d\d-\d\d-\d\d[ ,]{1,2}\d{8}"),
    _way(Identifier.BANK, r"(?i:s/c|sort(?: code)?)[: ]{1,3}\K\d{2}([ \-]?)\d{2}\1\d{2}"),
    _doubtful(Identifier.BANK, r"\d{2}([ \-]?)\d{2}\1\d{2}", context=("sort",)),
    _way(Identifier.BANK, r"(?i:(?:a/c|acct?|account)(?: (?:no|number|num)\b\.?)?)[:# ]{1,3}\K\d{6,12}"),
    _way(Identifier.BANK, r"(?i:(?:account|card) (?:ending|ends)(?: (?:in|with))?) \K\d{3,4}"),
    _doubtful(Identifier.BANK, r"\d{6,12}", context=("account", "acct", "acc", "routing", "bank")),
    _way(Identifier.DOCUMENT, r"[A-Z9]{5} ?\d{6} ?[A-Z9]{2}[A-Z0-9]{3}"),
    _doubtful(Identifier.DOCUMENT, r"[A-Z]{0,2}\d{2,4} ?\d{5}", context=("passport",)),
    _doubtful(Identifier.DOCUMENT, r"[A-Z]?\d{5,14}(?:-\d{1,6}){0,3}", context=_LICENCE),
    _doubtful(Identifier.DOCUMENT, r"\d{3}[ \-]?\d{3}[ \-]?\d{4}", context=("nhs",)),
    _way(Identifier.DOCUMENT, r"(?:ID|DL)(?: (?i:no|number|card)\b\.?)?[:# ]{1,3}\K[A-Z]{0,2}\d{5,12}"),
    _way(Identifier.DOCUMENT, r"(?i:[a-z]{3,12} (?:no\.|number|id))[:# ]{1,3}\K[A-Z]{0,3}\d{5,12}[A-Z]{0,2}"),
    # What the files call the case: whoever can open them finds everybody in it.
    _way(Identifier.REFERENCE, r"[A-Z]{2,4}/\d{1,8}/\d{2,4}"),
    _way(
        Identifier.REFERENCE,
        r"(?i:crime|case|incident|log|complaint|report|investigation|custody|reference)",
        rf"(?:{_LABEL}| #)\K{_CODE}",
    ),
    _way(Identifier.REFERENCE, rf"(?:CAD ?|URN |(?i:ref(?:erence)?\.?(?:: ?| is ))|docket )\K{_CODE}"),
    _way(Identifier.REFERENCE, r"(?i:file) \K\d{1,6}[\-/]\d{1,8}"),
)
"""Every way of writing personal data that is looked for, names excepted."""
