"""How the page looks: on a desk, on a phone, on paper, by day and by night."""

from dlth_tf.reporting.styles import BAND, INK, PAPER, RULE, SOFT_INK

_BY_NIGHT = {
    INK: "#e9e9ee",
    SOFT_INK: "#a9a9b6",
    RULE: "#3c3c46",
    BAND: "#2b2b33",
    PAPER: "#17171b",
    "#0072b2": "#4fb0ea",
    "#d55e00": "#ff8534",
    "#009e73": "#2cc79c",
}


def colours_of_the_page(svg: str) -> str:
    """A drawing whose colours follow the page's, by day and by night."""
    for colour in _BY_NIGHT:
        svg = svg.replace(colour, f"var({_variable(colour)})")
    return svg


def _variable(colour: str) -> str:
    return f"--c{colour[1:]}"


def _palette(colours: dict[str, str]) -> str:
    return " ".join(f"{_variable(day)}: {now};" for day, now in colours.items())


_BY_DAY = {colour: colour for colour in _BY_NIGHT}
_RULES = """
:root { color-scheme: light dark; DAY
  --ink: var(INK); --soft: var(SOFT); --rule: var(RULE); --band: var(BAND);
  --paper: var(PAPER); --link: #00598c; }
@media screen and (prefers-color-scheme: dark) { :root { NIGHT --link: #7cc4f2; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem clamp(1rem, 4vw, 3rem) 4rem;
  background: var(--paper); color: var(--ink); overflow-wrap: break-word;
  font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: clamp(1.6rem, 1.2rem + 2vw, 2.3rem); line-height: 1.15;
  margin: 0 0 .8rem; }
header .kicker { color: var(--soft); margin: 0; }
h2 { font-size: 1.3rem; line-height: 1.25; margin: 3rem 0 .6rem; padding-top: .7rem;
  border-top: 2px solid var(--ink); }
h3 { font-size: 1.05rem; margin: 2rem 0 .3rem; }
p, figcaption, caption, ul, ol { max-width: 42rem; }
p { margin: .5rem 0; }
a { color: var(--link); text-decoration-thickness: .06em;
  text-underline-offset: .15em; }
:target { background: var(--band); outline: .4rem solid var(--band); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem;
  margin: 1rem 0; padding: 0; max-width: none; }
nav a { display: inline-block; padding: .25rem 0; }
code { font: .86em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { white-space: pre-wrap; background: var(--band); padding: .6rem .8rem;
  margin: .5rem 0; border-radius: .3rem; overflow-wrap: anywhere; }
.argument { display: inline-block; }
small, .soft, figcaption, caption { color: var(--soft); }
small { font-size: .82rem; }
.notice { border-left: .3rem solid #d55e00; padding: .1rem 0 .1rem 1rem;
  margin: 1.2rem 0; }
.notice h2 { border: 0; margin: 0; padding: 0; font-size: 1.1rem; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .5rem; font-size: .92rem; caption-side: top; }
th, td { text-align: left; vertical-align: top; padding: .35rem 1.4rem .35rem 0;
  border-bottom: 1px solid var(--rule); }
thead th { border-bottom: 1px solid var(--ink); }
th { font-weight: 600; }
.results td { white-space: nowrap; }
.results td small { display: block; white-space: normal; min-width: 6.5rem; }
.results a { font-size: 1.05rem; }
.best a { font-weight: 700; }
.numbers td { text-align: right; white-space: nowrap; }
.numbers thead th + th { text-align: right; }
dl > div { display: grid; grid-template-columns: minmax(14rem, 2fr) 5fr; gap: 0 1.5rem;
  padding: .35rem 0; border-bottom: 1px solid var(--rule); break-inside: avoid; }
dt { font-weight: 600; }
dt code { display: block; font-weight: 400; }
dd { margin: 0; color: var(--soft); font-size: .92rem; }
@media (max-width: 40rem) {
  dl > div { grid-template-columns: 1fr; }
  dt code { display: inline; margin-right: .8rem; }
  th, td { padding-right: .8rem; }
  .numbers { font-size: .82rem; }
  .numbers th, .numbers td { padding-right: .5rem; }
}
figure { margin: 1rem 0 0; }
figcaption { font-size: .95rem; margin-bottom: .8rem; }
.panels { columns: 2 24rem; column-gap: 2.5rem; }
.panels svg { display: block; width: 100%; max-width: 33rem; height: auto;
  margin-bottom: 1.8rem; break-inside: avoid; }
footer { margin-top: 3rem; border-top: 1px solid var(--rule); padding-top: .6rem; }
@page { margin: 15mm 14mm; }
@media print {
  :root { font-size: 9.5pt; }
  body { max-width: none; padding: 0; }
  nav { display: none; }
  a { color: inherit; text-decoration: none; }
  h2, h3, figcaption, caption, thead { break-after: avoid; }
  h2 { margin-top: 1.6rem; }
  tr, .panels svg, .notice, figcaption, pre, .numbers, li { break-inside: avoid; }
  .scroll { overflow: visible; }
  .panels { columns: 2; column-gap: 1.5rem; }
  pre { border: 1px solid var(--rule); }
}
"""


def _filled(rules: str) -> str:
    for word, value in (
        ("DAY", _palette(_BY_DAY)),
        ("NIGHT", _palette(_BY_NIGHT)),
        ("INK", _variable(INK)),
        ("SOFT", _variable(SOFT_INK)),
        ("RULE", _variable(RULE)),
        ("BAND", _variable(BAND)),
        ("PAPER", _variable(PAPER)),
    ):
        rules = rules.replace(word, value)
    return rules


STYLESHEET = _filled(_RULES)
