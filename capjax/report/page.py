"""The page that a report's pieces stand on: one HTML file that loads nothing and runs nothing."""

from collections.abc import Sequence

from capjax.report.markup import Html, escape, join

# Should a bug ever let a caption's markup through, the browser still refuses to run or load it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, sections: Sequence[str], *, footer: str = "") -> Html:
    """A whole HTML document. Sections that are not Html are text, and are shown as text."""
    return Html(
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1><bdi>{escape(title)}</bdi></h1></header>
<main>
{join(sections)}
</main>
<footer>{escape(footer)}</footer>
</body>
</html>
"""
    )


def section(title: str, *parts: str, folded: bool = False) -> Html:
    """A part of a page under its title; folded, it shows only the title until it is opened."""
    heading, body = Html(f"<h2>{escape(title)}</h2>"), join(parts)
    if folded:
        heading = Html(f"<summary>{heading}</summary>")
        return Html(f"<section><details>{heading}\n{body}\n</details></section>")
    return Html(f"<section>{heading}\n{body}\n</section>")


# The k colours keep a contrast of 4.5 to the page, in the order in which colour-blind eyes tell
# most of them apart. Lines differ in dash besides.
STYLE = """
:root { --page: #fff; --ink: #1b1c1e; --soft: #5f646b; --rule: #e3e5e8; --axis: #a3a8af;
  --k0: #0066a6; --k1: #b84a00; --k2: #00734f; --k3: #99407e; --k4: #7a5c00; --k5: #53575e; }
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #151719; --ink: #e6e7e9; --soft: #9ba1a9; --rule: #2b2f33; --axis: #5d646c;
    --k0: #6fb9ef; --k1: #f2985a; --k2: #45c49d; --k3: #e39ccb; --k4: #d9b64a; --k5: #b4b9c0; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 3rem; max-width: 68rem; background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere; }
h1, h2, h3, h4, p, ol, ul, dl, dd, figure { margin: 0; padding: 0; }
ol, ul { list-style: none; }
h1 { font-size: 1.6rem; line-height: 1.25; font-weight: 650; letter-spacing: -0.01em; }
h2 { font-size: 1.125rem; line-height: 1.3; font-weight: 650; margin-bottom: 1rem; }
h3 { font-size: 0.9375rem; font-weight: 600; }
h4 { font-size: 0.8125rem; font-weight: 400; color: var(--soft); }
section { margin-top: 2.75rem; }
.note, .nothing, figcaption, footer { font-size: 0.8125rem; color: var(--soft); }
footer { margin-top: 3rem; padding-top: 0.75rem; border-top: 1px solid var(--rule); }
footer:empty { display: none; }
summary { cursor: pointer; }
summary h2 { display: inline; }

.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9375rem; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
caption { text-align: left; padding-bottom: 0.5rem; color: var(--soft); font-size: 0.8125rem; }
th, td { padding: 0.3rem 1.75rem 0.3rem 0; text-align: left; vertical-align: baseline;
  font-weight: 400; border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-size: 0.8125rem; border-color: var(--axis); }
.number { text-align: right; }
.missing { color: var(--soft); cursor: help; }
.note { margin-top: 0.4rem; }
.note + .gallery { margin-top: 0.9rem; }

.facts { margin-top: 1rem; columns: 20rem; column-gap: 3rem; font-size: 0.875rem; }
.facts div { display: flex; gap: 1rem; justify-content: space-between; break-inside: avoid;
  padding: 0.2rem 0; border-bottom: 1px solid var(--rule); }
.facts dt { color: var(--soft); flex: none; max-width: 50%; }
.facts dd { text-align: right; font-variant-numeric: tabular-nums; white-space: pre-wrap; }

.charts { display: grid; gap: 2.25rem 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.chart { min-width: 0; break-inside: avoid; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1.25rem; font-size: 0.8125rem;
  color: var(--soft); }
.legend b { font-weight: 600; color: var(--ink); font-variant-numeric: tabular-nums; }
.key { width: 28px; height: 10px; margin-right: 0.3rem; vertical-align: 0; }
.plot { position: relative; margin: 1.6rem 0.75rem 2rem max(2.75rem, calc(var(--y) + 0.75rem));
  font-size: 0.75rem; line-height: 1rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.labelled .plot { margin-right: 6.5rem; }
.plot > svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.plot > span { position: absolute; white-space: nowrap; }
.plot .y { right: 100%; padding-right: 0.5rem; transform: translateY(-50%); }
.plot .name { right: 100%; top: calc(100% + 0.5rem); padding-right: 0.75rem; }
.plot .x { top: calc(100% + 0.5rem); transform: translateX(-50%); }
.plot .stage { bottom: calc(100% + 0.2rem); overflow: hidden; text-overflow: ellipsis;
  padding: 0 0.3rem; border-left: 1px solid var(--axis); }
.plot .end { left: calc(100% + 0.5rem); max-width: 6rem; transform: translateY(-50%);
  overflow: hidden; text-overflow: ellipsis; color: var(--k); }
path { fill: none; vector-effect: non-scaling-stroke; }
.rule { stroke: var(--rule); }
path.stage { stroke: var(--axis); }
.line { stroke: var(--k); stroke-width: 1.75; stroke-linejoin: round; stroke-dasharray: var(--d); }
.dot { stroke: var(--k); stroke-width: 5; stroke-linecap: round; }
.band { fill: var(--k); fill-opacity: 0.16; }
.k0 { --k: var(--k0); } .k1 { --k: var(--k1); } .k2 { --k: var(--k2); }
.k3 { --k: var(--k3); } .k4 { --k: var(--k4); } .k5 { --k: var(--k5); }
.d0 { --d: none; } .d1 { --d: 7 3; } .d2 { --d: 2 2.5; } .d3 { --d: 10 3 2 3; } .d4 { --d: 14 4; }

.example { display: grid; grid-template-columns: 12rem 1fr; gap: 0.75rem 2rem; padding: 1.25rem 0;
  border-top: 1px solid var(--rule); break-inside: avoid; }
.seen img { display: block; max-width: 12rem; max-height: 16rem; height: auto;
  outline: 1px solid #8883; outline-offset: -1px; }
.seen .photo { width: auto; }
.seen .drawn { object-fit: contain; image-rendering: pixelated; }
.seen h3 { margin-top: 0.4rem; font-size: 0.75rem; font-weight: 400; color: var(--soft); }
.notes, .marks { display: flex; flex-wrap: wrap; gap: 0 0.75rem; font-size: 0.75rem;
  color: var(--soft); }
.notes .yes, .marks .yes { color: var(--k2); }
.notes .no, .marks .no { color: var(--k1); }
.shared, .times { color: var(--soft); }
.times { font-size: 0.8125rem; white-space: nowrap; }
.false { color: var(--k1); text-decoration: underline wavy 1px; text-underline-offset: 0.2em; }
.captions b { font-weight: 650; text-decoration: underline; text-decoration-thickness: 1px;
  text-underline-offset: 0.2em; }
.said { display: grid; gap: 1rem 2rem; align-content: start; min-width: 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 9rem), 1fr)); }
.said > div { min-width: 0; }
.captions li { margin-top: 0.25rem; line-height: 1.4; overflow: hidden auto; max-height: 9.8em; }
.said:has(.paragraph) { grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); }
.said:has(.paragraph) > div:last-child { grid-column: 1 / -1; }
.captions li:has(.paragraph) { max-height: none; margin-top: 0.5rem; }
.paragraph + .marks { margin-top: 0.25rem; }
.looks { grid-column: 1 / -1; display: grid; gap: 0.75rem;
  grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); }
.look div { background-size: 100% 100%; }
.look figcaption { margin-top: 0.25rem; font-size: 0.875rem; overflow-wrap: anywhere; }
.look .share { display: block; font-size: 0.75rem; opacity: 0.7; }
.pair { padding: 1.25rem 0; border-top: 1px solid var(--rule); break-inside: avoid; }
.beside { display: flex; flex-wrap: wrap; gap: 0.75rem 1rem; align-items: flex-end; }
.beside img { display: block; height: 8rem; width: auto; max-width: 100%; object-fit: contain;
  outline: 1px solid #8883; outline-offset: -1px; }
.beside .target img { height: 12rem; }
.beside .drawn { image-rendering: pixelated; }
.beside figcaption { margin-top: 0.3rem; font-size: 0.75rem; }
.told { display: grid; grid-template-columns: auto 1fr; gap: 0.4rem 1.25rem; margin-top: 0.9rem; }
.told dt { font-size: 0.8125rem; line-height: 1.8rem; color: var(--soft); white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.told dd { min-width: 0; line-height: 1.8rem; }
.word { --k: var(--k0); position: relative; padding: 0.1rem 0.25rem; border-radius: 2px;
  color: var(--ink); unicode-bidi: isolate; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; -webkit-box-decoration-break: clone;
  box-decoration-break: clone; border-bottom: 2px solid color-mix(in srgb, var(--k) var(--s),
  transparent); background: color-mix(in srgb, color-mix(in srgb, var(--k) 38%, var(--page))
  var(--s), transparent); }
.held { --k: var(--k1); border-bottom-style: dotted; }
.ending { font-size: 0.875rem; }
.unseen { position: absolute; left: 0; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap; user-select: none; }
.shades { display: flex; flex-wrap: wrap; align-items: center; gap: 0.25rem 0.75rem;
  margin: 0.9rem 0 1.25rem; font-size: 0.8125rem; color: var(--soft); }
.shades .word { display: inline-block; min-width: 2.6rem; text-align: center; }

@media (max-width: 40rem) {
  body { padding: 1.5rem 1rem 2rem; }
  th, td { padding-right: 0.8rem; }
  .labelled .plot { margin-right: 0.75rem; }
  .plot .end { display: none; }
  .example { grid-template-columns: 1fr; }
  .seen { display: flex; gap: 1rem; }
  .seen img { max-width: 8rem; }
  .seen h3 { margin-top: 0; }
  .beside img { height: 6rem; }
  .beside .target img { height: 9rem; }
  .told { column-gap: 0.75rem; }
  .said { gap: 1rem; }
  .captions { font-size: 0.9375rem; } }
@media print {
  html { font-size: 9.5pt; }
  body { padding: 0; max-width: none; }
  .charts { grid-template-columns: 1fr 1fr; }
  .captions li { max-height: none; }
  details::details-content { content-visibility: visible; } }
"""
