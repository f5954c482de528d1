// Looking closer: the wheel with Ctrl (and the pinch that touchpads send as such) zooms, the plain wheel and dragging move what is larger than its board.

const MOST = 8;

export class Zoom {
  #board;
  #frame;
  #changed;
  #scale = 1;
  #at = [0, 0];

  /** Zooms `frame`, which fills `board`; `changed` is told the scale. */
  constructor(board, frame, changed) {
    this.#board = board;
    this.#frame = frame;
    this.#changed = changed;
    frame.addEventListener('wheel', (event) => this.#wheel(event), { passive: false });
    frame.addEventListener('pointerdown', (event) => this.#drag(event));
    this.#show();
  }

  /** Larger by a factor, around a place in pixels of the board; its middle by default. */
  by(factor, place = [this.#board.clientWidth / 2, this.#board.clientHeight / 2]) {
    const scale = Math.min(MOST, Math.max(1, this.#scale * factor));
    this.#at = this.#at.map((at, axis) => place[axis] - ((place[axis] - at) * scale) / this.#scale);
    this.#scale = scale;
    this.#show();
  }

  #move(dx, dy) {
    this.#at = [this.#at[0] + dx, this.#at[1] + dy];
    this.#show();
  }

  #wheel(event) {
    const closer = event.ctrlKey || event.metaKey;
    // Else the page scrolls, as it does where nothing is zoomed.
    if (!closer && this.#scale === 1) return;
    event.preventDefault();
    if (!closer) return this.#move(-event.deltaX, -event.deltaY);
    const { left, top } = this.#board.getBoundingClientRect();
    this.by(Math.exp(-event.deltaY / 200), [event.clientX - left, event.clientY - top]);
  }

  #drag(event) {
    // The brush and the handle between before and after have their own use for the pointer.
    if (this.#scale === 1 || event.button !== 0 || event.target.closest('.mask, .split')) return;
    event.preventDefault();
    this.#frame.setPointerCapture(event.pointerId);
    let [x, y] = [event.clientX, event.clientY];
    const move = (to) => {
      this.#move(to.clientX - x, to.clientY - y);
      [x, y] = [to.clientX, to.clientY];
    };
    this.#frame.addEventListener('pointermove', move);
    for (const end of ['pointerup', 'pointercancel']) {
      this.#frame.addEventListener(end, () => this.#frame.removeEventListener('pointermove', move), { once: true });
    }
  }

  /** The board stays full. */
  #show() {
    const { clientWidth, clientHeight } = this.#board;
    this.#at = [clientWidth, clientHeight].map((length, axis) => Math.min(0, Math.max(length * (1 - this.#scale), this.#at[axis])));
    const [x, y] = this.#at;
    this.#frame.style.transform = this.#scale === 1 ? '' : `translate(${x}px, ${y}px) scale(${this.#scale})`;
    this.#frame.classList.toggle('zoomed', this.#scale > 1);
    this.#changed(this.#scale);
  }
}
