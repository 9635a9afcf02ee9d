// Text of a terminal as text nodes in a <pre>: colours become classes, every other control sequence is dropped.
const SEQUENCE = /\x1b(?:\[([0-?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-Z\\^_`a-~])/y;
const UNFINISHED = 8192;
const HARMFUL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

export class Terminal {
  constructor(box) {
    this.box = box;
    this.begin();
  }

  clear() {
    this.box.replaceChildren();
    this.begin();
  }

  begin() {
    this.style = { fore: "", back: "", marks: new Set() };
    this.rest = "";
  }

  get empty() {
    return !this.box.textContent;
  }

  write(text) {
    const piece = document.createDocumentFragment();
    let whole = this.rest + text;
    this.rest = "";
    let begun = 0;
    for (let at = whole.indexOf("\x1b"); at >= 0; at = whole.indexOf("\x1b", begun)) {
      this.put(piece, whole.slice(begun, at));
      SEQUENCE.lastIndex = at;
      const found = SEQUENCE.exec(whole);
      if (!found) {
        if (whole.length - at < UNFINISHED) {
          this.rest = whole.slice(at);
          whole = "";
          begun = 0;
          break;
        }
        begun = at + 1;
        continue;
      }
      if (found[2] === "m") this.colour(found[1]);
      begun = at + found[0].length;
    }
    this.put(piece, whole.slice(begun));
    this.box.append(piece);
    if (this.wanted) this.mark(this.wanted);
  }

  put(piece, text) {
    if (!text) return;
    const plain = text.replaceAll("\r\n", "\n").replaceAll("\r", "\n").replace(HARMFUL, written);
    const classes = [this.style.fore, this.style.back, ...this.style.marks].filter(Boolean);
    if (!classes.length) return piece.append(plain);
    const span = document.createElement("span");
    span.className = classes.join(" ");
    span.textContent = plain;
    piece.append(span);
  }

  colour(codes) {
    const numbers = (codes || "0").split(/[;:]/).map(Number);
    for (let at = 0; at < numbers.length; at++) {
      const code = numbers[at];
      if (code === 0) this.style = { fore: "", back: "", marks: new Set() };
      else if ([1, 2, 3, 4, 9].includes(code)) this.style.marks.add(`a${code}`);
      else if (code === 22) ["a1", "a2"].forEach((mark) => this.style.marks.delete(mark));
      else if (code >= 23 && code <= 29) this.style.marks.delete(`a${code - 20}`);
      else if (code >= 30 && code <= 37) this.style.fore = `f${code - 30}`;
      else if (code >= 90 && code <= 97) this.style.fore = `f${code - 90}`;
      else if (code >= 40 && code <= 47) this.style.back = `b${code - 40}`;
      else if (code >= 100 && code <= 107) this.style.back = `b${code - 100}`;
      else if (code === 39) this.style.fore = "";
      else if (code === 49) this.style.back = "";
      else if (code === 38 || code === 48) {
        const number = numbers[at + 2];
        if (numbers[at + 1] === 5 && number < 16) this.style[code === 38 ? "fore" : "back"] = `${code === 38 ? "f" : "b"}${number % 8}`;
        at += numbers[at + 1] === 5 ? 2 : 4;
      }
    }
  }

  mark(wanted) {
    for (const mark of this.box.querySelectorAll("mark")) mark.replaceWith(...mark.childNodes);
    this.box.normalize();
    this.wanted = wanted;
    if (!wanted) return;
    const walker = document.createTreeWalker(this.box, NodeFilter.SHOW_TEXT);
    const nodes = [];
    while (walker.nextNode()) nodes.push(walker.currentNode);
    const low = wanted.toLowerCase();
    let left = 500;
    for (let node of nodes) {
      for (let at; left > 0 && (at = node.data.toLowerCase().indexOf(low)) >= 0; left--) {
        const found = node.splitText(at);
        node = found.splitText(wanted.length);
        const mark = document.createElement("mark");
        found.replaceWith(mark);
        mark.append(found);
      }
    }
  }

  next(step) {
    const marks = [...this.box.querySelectorAll("mark")];
    if (!marks.length) return;
    const at = marks.findIndex((mark) => mark.classList.contains("now"));
    marks[at]?.classList.remove("now");
    const now = marks[(at + step + marks.length) % marks.length];
    now.classList.add("now");
    now.scrollIntoView({ block: "nearest" });
  }
}

function written(letter) {
  const code = letter.charCodeAt(0);
  if (code < 32) return String.fromCharCode(0x2400 + code);
  return code === 127 ? "␡" : `\\u${code.toString(16).padStart(4, "0")}`;
}
