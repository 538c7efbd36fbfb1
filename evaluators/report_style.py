"""How the report looks: in light and in dark, on a wide screen, a narrow one and on paper."""

CSS = """
:root { color-scheme: light dark; --page: #f6f7f9; --sheet: #fff; --ink: #1b1f24; --soft: #57606a;
  --line: #d8dee4; --track: #e6eaef; --good: #1a7f37; --bad: #b42318; --fair: #5d6b7a;
  --good-fill: #8fcaa5; --bad-fill: #c4483c; --accent: #7d9fd6; --warn: #8a4b00;
  --warn-fill: #fff4e0; --frame: #eceff3; --pred: #f76707; --ref: #2da44e; --edge: #aab3bd; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171b; --sheet: #1d2126; --ink: #e6e9ec; --soft: #9aa5b1; --line: #333a42;
    --track: #31373f; --good: #57c27a; --bad: #ff8478; --fair: #a5b0bc; --good-fill: #3c8a57;
    --bad-fill: #d9584b; --accent: #4f74b3; --warn: #f2b866; --warn-fill: #33291a;
    --frame: #15181c; --edge: #59636e; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1, h2, h3, h4, p, ul, dl, dd, figure { margin: 0; padding: 0; }
[hidden] { display: none !important; }
header.top { background: var(--sheet); border-bottom: 1px solid var(--line); padding: 24px 0 20px; }
header.top > *, main { max-width: 1360px; margin: 0 auto; padding: 0 24px; }
main { padding-bottom: 24px; }
h1 { font-size: 26px; line-height: 1.2; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 19px; }
h3 { font-size: 15px; overflow-wrap: anywhere; }
h4 { font-size: 13px; margin-top: 10px; }
.subtitle { color: var(--soft); margin-top: 6px; overflow-wrap: anywhere; }
.panel { background: var(--sheet); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 18px; min-width: 0; }
section, details.panel { margin-top: 22px; }
.notice { color: var(--warn); background: var(--warn-fill); border-radius: 6px; font-size: 13.5px;
  padding: 6px 10px; margin: 8px 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; color: var(--soft); font-size: 13px;
  margin-top: 6px; }
.legend span { display: inline-flex; align-items: center; gap: 6px; }

table.figures { border-collapse: collapse; width: 100%; margin-top: 8px;
  font-variant-numeric: tabular-nums; }
.figures thead th { font-size: 12.5px; font-weight: 500; color: var(--soft); }
.figures th { text-align: left; font-weight: 500; overflow-wrap: anywhere; }
.figures td, .figures th { padding: 5px 12px 5px 0; vertical-align: middle; }
.figures tbody tr:not(.task, .warning) > * { border-top: 1px solid var(--line); }
.figures .task th { font-weight: 650; padding-top: 14px; }
.figures td { white-space: nowrap; }
.figures .ours b { font-size: 19px; font-weight: 650; }
.figures small { display: block; color: var(--soft); font-size: 12px; }
.figures td.bar { width: 30%; min-width: 130px; }
.figures td.published, .figures td.baseline, .figures td.n, .figures td.difference { width: 10%; }
.figures .warning td { color: var(--warn); font-size: 13.5px; white-space: normal;
  overflow-wrap: anywhere; padding-top: 0; }
.figures small.out { font-weight: 600; color: var(--ink); }
.scale { position: relative; display: block; height: 10px; border-radius: 3px;
  background: var(--track); }
.scale b { position: absolute; inset: 0 auto 0 0; border-radius: 3px; background: var(--accent); }
.mark { display: inline-block; }
.mark.fill { width: 18px; height: 10px; border-radius: 3px; background: var(--accent); }
.mark.span { width: 18px; height: 8px; border: solid var(--ink); border-width: 0 2px;
  background: linear-gradient(var(--ink), var(--ink)) center / 100% 2px no-repeat; }
.mark.published { width: 12px; height: 9px; background: var(--pred);
  clip-path: polygon(0 0, 100% 0, 50% 100%); }
.mark.baseline { width: 2px; height: 14px; background: var(--soft); }
.scale .mark { position: absolute; top: 1px; }
.scale .mark.span { min-width: 6px; top: 0; height: 10px; }
.scale .mark.published { margin-left: -6px; top: -7px; }
.scale .mark.baseline { margin-left: -1px; top: -2px; }

.panels { display: grid; gap: 14px; margin-top: 10px; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(330px, 100%), 1fr)); }
.tally { font-size: 14px; }
.right .badge, .tally .right { color: var(--good); font-weight: 650; white-space: nowrap; }
.wrong .badge, .tally .wrong { color: var(--bad); font-weight: 650; white-space: nowrap; }
.unscored .badge, .tally .unscored { color: var(--fair); font-weight: 650; white-space: nowrap; }
.panels figure { margin-top: 12px; }
.plot { display: block; width: 100%; height: auto; }
.plot text { font-size: 10px; fill: var(--soft); text-anchor: middle; }
.plot line { stroke: var(--edge); }
.plot rect.wrong { fill: var(--bad-fill); }
.plot rect.right { fill: var(--good-fill); }
.plot rect.unscored { fill: var(--fair); }
.end-eos { fill: var(--accent); }
.end-stop { fill: var(--good-fill); }
.end-length { fill: var(--pred); }
.end-other { fill: var(--fair); }
figcaption { font-size: 12.5px; color: var(--soft); margin-top: 4px; }
.groups { list-style: none; max-height: 300px; overflow-y: auto; margin-top: 4px; }
.groups button { font: inherit; font-size: 13px; color: inherit; background: none; border: 0;
  padding: 2px 4px; width: 100%; display: grid; align-items: center; gap: 8px; cursor: pointer;
  grid-template-columns: minmax(0, 1fr) 30% 3.2em 3.6em; text-align: start; border-radius: 4px; }
.groups button:hover { background: var(--track); }
.groups span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.groups .mean, .groups small { text-align: right; font-variant-numeric: tabular-nums; }
.groups small { color: var(--soft); }

.bar-top { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 22px;
  margin: 0 -24px 8px; padding: 10px 24px; position: sticky; top: 0; z-index: 2;
  background: var(--page); }
form { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 10px; font-size: 14px;
  flex: 1 1 100%; }
form label { display: inline-flex; align-items: center; gap: 5px; }
select, input[type=search], dialog button { font: inherit; color: inherit; padding: 4px 7px;
  border: 1px solid var(--edge); border-radius: 6px; background: var(--sheet); max-width: 146px; }
output { color: var(--soft); font-variant-numeric: tabular-nums; min-width: 9ch;
  margin-left: auto; text-align: right; }
.grid { display: grid; gap: 14px; margin-top: 12px; align-items: start; grid-auto-flow: dense;
  grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); }
.none { color: var(--soft); }
.card { background: var(--sheet); border: 1px solid var(--line); border-top: 4px solid var(--fair);
  border-radius: 8px; overflow: hidden; display: flex; flex-direction: column; min-width: 0;
  content-visibility: auto; contain-intrinsic-size: auto 300px; }
.card.right { border-top-color: var(--good); }
.card.wrong { border-top-color: var(--bad); }
.card.pair { grid-column: span 2; }
.card header { display: flex; align-items: baseline; gap: 10px; padding: 8px 14px;
  font-size: 13px; }
.task { font-weight: 600; overflow-wrap: anywhere; }
.id { color: var(--soft); margin-left: auto; overflow-wrap: anywhere; text-align: right; }
.pictures { display: flex; gap: 8px; background: var(--frame); padding: 8px;
  justify-content: center; }
.card .pictures { cursor: zoom-in; }
.picture { position: relative; margin: 0 auto; width: min(100%, calc(300px * var(--ratio))); }
.pictures figure { flex: 1 1 100%; min-width: 0; }
.picture img { display: block; width: 100%; height: auto; }
.picture img.mask { position: absolute; inset: 0; height: 100%; image-rendering: pixelated; }
.picture img.tiny { image-rendering: pixelated; }
.pictures figcaption { display: flex; justify-content: center; align-items: center; gap: 6px;
  font-size: 12px; }
.picture svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: hidden; }
.picture rect { fill: none; stroke-width: 2.5; }
.picture rect.pred { stroke: var(--pred); }
.picture rect.ref { stroke: #2da44e; stroke-dasharray: 7 4; }
.picture text { font: 650 13px system-ui, sans-serif; fill: #a63703; stroke: #fff;
  stroke-width: 4px; stroke-linejoin: round; paint-order: stroke; }
.picture text.ref { fill: #116329; }
.key { display: inline-block; width: 18px; height: 11px; border: 2.5px solid var(--pred);
  border-radius: 2px; }
.key.ref { border: 2.5px dashed var(--ref); }
dl { display: grid; grid-template-columns: 1fr 1fr; gap: 9px 14px; padding: 11px 14px 6px; }
dl > div { min-width: 0; }
dl.long > div, .prompt { grid-column: 1 / -1; }
dt { color: var(--soft); font-size: 12px; }
dd { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 12em; overflow-y: auto; }
dd em, .times { color: var(--soft); }
.answer { font-weight: 650; }
.wrong .answer { color: var(--bad); }
.card footer { display: flex; flex-wrap: wrap; align-items: center; gap: 3px 12px;
  color: var(--soft); font-size: 12.5px; padding: 0 14px 9px; margin-top: auto; }
.fact { overflow-wrap: anywhere; }
.sure rect { fill: var(--accent); }
code { font: 11px/1.4 ui-monospace, Menlo, Consolas, monospace; color: var(--soft);
  font-weight: 400; }
dialog { background: var(--sheet); color: var(--ink); border: 1px solid var(--line);
  border-radius: 10px; padding: 0; width: min(1200px, 94vw); max-height: 92vh; }
dialog::backdrop { background: rgb(0 0 0 / .6); }
dialog header { display: flex; justify-content: space-between; align-items: center; gap: 12px;
  padding: 10px 14px; overflow-wrap: anywhere; }
dialog .picture { width: min(100%, calc(68vh * var(--ratio))); }
dialog dd { max-height: none; }
summary { cursor: pointer; font-weight: 600; }
.details { grid-template-columns: max-content minmax(0, 1fr); gap: 6px 20px; padding: 12px 0 0; }
.details dt { font-size: 14px; }
.details dd { max-height: none; }
pre { margin: 0; font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 760px) {
  header.top > *, main { padding: 0 14px; }
  .bar-top { position: static; margin: 0 -14px 8px; padding: 10px 14px; }
  .card.pair { grid-column: auto; }
  form { display: grid; grid-template-columns: 1fr 1fr; }
  form > *, form label select { max-width: none; min-width: 0; }
  form label select { flex: 1; }
  .figures thead { display: none; }
  .figures tbody { display: block; }
  .figures tr { display: grid; grid-template-columns: 1fr 1fr; gap: 2px 16px; padding: 6px 0; }
  .figures tr:not(.task, .warning) { border-top: 1px solid var(--line); }
  .figures tbody tr > *, .figures tbody tr:not(.task, .warning) > * { border: 0; padding: 2px 0;
    width: auto; }
  .figures .task th, .figures .warning td, .figures td.bar { grid-column: 1 / -1; }
  .figures .warning { padding: 0; }
  .figures td.bar { width: auto !important; padding: 4px 0 6px !important; }
  .figures td:empty { display: none; }
  .figures td:not(.bar, .ours)::before { content: attr(data-name); color: var(--soft);
    font-size: 12.5px; margin-right: 8px; }
  .figures .warning td::before { content: none !important; }
  .details { grid-template-columns: 1fr; gap: 2px; }
  .details dd { margin-bottom: 8px; }
}
@media print {
  body { background: #fff; font-size: 11px; }
  form { display: none !important; }
  .bar-top { position: static; }
  .grid { grid-template-columns: repeat(3, 1fr); }
  .card, .panels .panel, .figures tr { break-inside: avoid; content-visibility: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
