"""Which text on a page is hard to read: contrast below 4.5 to 1, by WCAG 2.2's success criterion 1.4.3."""

#: JavaScript that returns [tag, text, contrast] of every visible text that is hard to read.
ILLEGIBLE = """() => {
  const rgba = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => colour
    .map((part) => part / 255)
    .map((part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [.2126, .7152, .0722][at], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    if (!text || !element.checkVisibility() || element.closest("script")) continue;
    const back = behind(element);
    const style = getComputedStyle(element);
    const front = rgba(style.color).slice(0, 3)
      .map((part, at) => part * style.opacity + back[at] * (1 - style.opacity));
    const [light, dark] = [luminance(front), luminance(back)].sort((a, b) => b - a);
    const contrast = (light + .05) / (dark + .05);
    if (contrast < 4.5) found.push([element.tagName, text, contrast.toFixed(2)]);
  }
  return found;
}"""
