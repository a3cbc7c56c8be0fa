"""How the page looks: the report's own style, within what is ours of the page."""

from capjax.report.page import STYLE

_OURS = """
.capjax { color: var(--ink); font-size: 1rem; line-height: 1.5; overflow-wrap: anywhere; }
.capjax section { margin: 0; min-width: 0; }
.capjax h3 { margin: 0 0 0.5rem; }
.capjax h4 { margin: 0 0 0.15rem; }
.capjax .note { margin: 0 0 0.5rem; }
#looks, #alert:not(:has(.alert)) { display: none; }
.capjax .alert { margin: 0; padding: 0.5rem 0.75rem; border-left: 3px solid var(--k1);
  background: color-mix(in srgb, var(--k1) 10%, var(--page)); }
.capjax .target img { display: block; max-width: 100%; height: auto; margin: 0 auto;
  max-height: 20rem; outline: 1px solid #8883; outline-offset: -1px; }
.capjax .target .drawn { width: 14rem; height: 14rem; image-rendering: pixelated; }
.capjax .target figcaption { text-align: center; margin: 0.35rem 0 0.5rem; }
.capjax summary { font-size: 0.8125rem; color: var(--soft); }
.capjax .runs { display: grid; gap: 1.5rem 2.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); }
.capjax .run { min-width: 0; border-top: 1px solid var(--rule); padding-top: 0.75rem; }
.capjax .ways { columns: 14rem; column-gap: 1.5rem; }
.capjax .ways section { break-inside: avoid; padding-bottom: 1rem; }
.capjax .captions li { max-height: none; margin-top: 0.15rem; }
.capjax .marks { display: inline-flex; }
.capjax .verdicts { display: grid; gap: 1rem 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); }
.capjax .said-so { line-height: 1.9rem; margin: 0 0 0.4rem; min-height: 1.9rem; }
.capjax .choices { display: grid; gap: 0.5rem; max-width: 30rem;
  grid-template-columns: repeat(5, minmax(0, 1fr)); }
.capjax .choice { min-width: 0; font-size: 0.8125rem; font-variant-numeric: tabular-nums; }
.capjax .choice .look { aspect-ratio: 1; background-size: contain; background-position: center;
  background-repeat: no-repeat; outline: 1px solid #8883; outline-offset: -1px; }
.capjax .mine .look { outline: 2px solid var(--k0); outline-offset: 1px; }
.capjax .bar { height: 0.5rem; margin-top: 0.35rem; background: var(--rule); }
.capjax .bar i { display: block; height: 100%; background: var(--k1); transition: width 0.15s; }
.capjax .mine .bar i { background: var(--k0); }
@media (max-width: 40rem) {
  .capjax .choice figcaption { font-size: 0.6875rem; line-height: 1.2; } }
"""

# The report styles a whole page; nested, it styles no more than what is within.
CSS = f".capjax {{ {STYLE.replace(':root', '&')} }}\n{_OURS}"
