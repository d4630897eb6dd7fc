"""The slider of `frame_slider`: HTML, a style sheet and a script; no kernel."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from string import Template


def slug(name: str) -> str:
    """A name as an HTML id says it: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def slider_page(
    name: str,
    labels: Sequence[str],
    alt: str,
    frames: Sequence[str],
    size: tuple[int, int],
    start: int,
) -> str:
    """A slider's HTML: every frame is a picture of its own, so that print and readers
    without scripts get all.
    """
    # small frames are shown at up to twice their size
    shown = max(size[0], min(2 * size[0], 384))
    box = max(shown, 288)
    last, room = len(frames) - 1, max(1, box // (8 * max(map(len, labels)) + 8) - 1)
    # As many labels below the slider as fit: each, or every second, third ...; the
    # first and the last always.
    step = next(
        step
        for step in range(1, last + 1)
        if last % step == 0 and (last // step <= room or step == last)
    )
    figures = [
        (
            f"{'<figure class=on>' if i == start else '<figure>'}<img "
            f'src="{frame}" alt="{html.escape(f"{alt}, {label}")}" '
            f'width="{size[0]}" height="{size[1]}"><figcaption>{html.escape(label)}'
            "</figcaption></figure>"
        )
        for i, (frame, label) in enumerate(zip(frames, labels, strict=True))
    ]
    parts = {
        "id": f"frame-slider-{slug(name)}",
        "name": html.escape(name),
        "label": html.escape(labels[start]),
    }
    parts["ticks"] = "".join(f"<i>{html.escape(label)}</i>" for label in labels[::step])
    return Template(_SLIDER).substitute(
        parts, figures="\n".join(figures), shown=shown, box=box, last=last, start=start
    )


# The data attribute keeps JupyterLab from taking keys for itself; it asks the element
# that has the focus. No colours are set, so that the page's own (light or dark) hold;
# the script's names stay in one function. A frame is decoded before it is shown, and
# its neighbours after it, so that nothing flickers; the frame before stays beneath it
# while it fades in.
_SLIDER = """\
<div class="frame-slider" id="$id" style="max-width:${box}px">
<style>
.frame-slider{--frame:none;--area:1/1;--columns:none;--one:contents;margin:0 0 1rem;
&>div{display:grid;grid-template-columns:var(--columns);gap:.5rem}
figure{display:var(--frame);grid-area:var(--area);width:100%;margin:0;padding:0;break-inside:avoid}
.on,.under{display:block}
.on{z-index:1}
img{display:block;width:100%;height:auto}
figcaption{display:var(--frame);margin:0;text-align:left}
p{display:flex;justify-content:space-between;gap:.5em;min-height:2.6em;margin:.5rem 0 0}
span span,section{display:var(--one)}
button{flex:none;align-self:start;padding:0 \
.6em;min-height:28px;font:inherit;font-size:.8em}
input{display:block;width:100%;height:44px;margin:0;cursor:pointer}
section p{min-height:0;margin:-.4rem 0 0;font-size:.8em}
i{font-style:normal}
&.all{--frame:block;--area:auto;--columns:repeat(auto-fill,minmax(8.5rem,1fr));--one:none}
&.all,&.all>div{max-width:none!important}
@media print,(scripting:none){
&{--frame:block;--area:auto;--columns:repeat(auto-fill,minmax(8.5rem,1fr));--one:none}
&,&>div{max-width:none!important}
button{display:none}
}}
</style>
<div style="max-width:${shown}px">
$figures
</div>
<p><span><b>$name</b><span> = <output aria-live="off">$label</output></span></span>
<button type="button" aria-pressed="false" data-lm-suppress-shortcuts>side by \
side</button></p>
<section><input type="range" min="0" max="$last" step="1" value="$start" \
autocomplete="off" aria-label="$name" aria-valuetext="$label" \
data-lm-suppress-shortcuts><p aria-hidden="true">$ticks</p></section>
<script>
(() => {
const script = document.currentScript, calm = matchMedia('(prefers-reduced-motion: \
reduce)');
const box = (script && script.closest('.frame-slider')) || \
document.getElementById('$id');
if (!box) return;
const one = (selector) => box.querySelector(selector), frames = \
box.querySelectorAll('figure');
const range = one('input'), button = one('button');
const decode = async (i) => frames[i] && frames[i].firstChild.decode().catch(() => {});
const neighbours = () => [-1, 1].forEach((way) => decode(+range.value + way));
range.oninput = async () => {
  const i = +range.value, now = frames[i], label = now.lastChild.textContent;
  one('output').textContent = label;
  range.setAttribute('aria-valuetext', label);
  await decode(i);
  const old = one('.on');
  if (i !== +range.value || now === old) return;
  frames.forEach((frame) => { frame.className = frame === now ? 'on' : ''; });
  if (!calm.matches) {
    old.className = 'under';
    now.animate({opacity: [0, 1]}, 150).onfinish = () => old.classList.remove('under');
  }
  neighbours();
};
range.onfocus = range.onpointerenter = neighbours;
button.onclick = () => button.setAttribute('aria-pressed', box.classList.toggle('all'));
})();
</script>
</div>
"""
