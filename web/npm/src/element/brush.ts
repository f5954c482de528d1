// A brush that paints a mask over a picture, with the mouse, a finger, a pen or keys: that of the element and of the demo app.

/** Pixels of the mask's longer side; it is scaled to the picture. */
const SIDE = 512;
/** Smallest, first and largest width of the brush, as parts of that side. */
export const SIZES = { min: 1 / 32, first: 1 / 8, max: 1 / 2 };

type Place = [x: number, y: number];

/** A line of the brush, from where it touched the picture to where it left it. */
interface Stroke {
  width: number;
  erases: boolean;
  places: Place[];
}

export class Brush {
  #canvas: HTMLCanvasElement;
  #ring: HTMLElement;
  #context: CanvasRenderingContext2D | null;
  #changed: () => void;
  #at: Place = [SIDE / 2, SIDE / 2];
  #size = SIZES.first;
  #erases = false;
  #strokes: Stroke[] = [];
  // The finger or button that paints.
  #pointer: number | null = null;

  /**
   * Paints on `canvas`; `ring` shows the brush. `changed` is called after each stroke, when a stroke is taken back, and when keys change the brush's size or
   * turn it round.
   */
  constructor(canvas: HTMLCanvasElement, ring: HTMLElement, changed: () => void) {
    this.#canvas = canvas;
    this.#ring = ring;
    this.#changed = changed;
    this.#context = canvas.getContext('2d', { willReadFrequently: true });
    this.shape(1, 1);
    canvas.addEventListener('pointerdown', (event) => this.#down(event));
    canvas.addEventListener('pointermove', (event) => this.#move(event));
    for (const end of ['pointerup', 'pointercancel'] as const) {
      canvas.addEventListener(end, ({ pointerId }) => pointerId === this.#pointer && this.#up());
    }
    canvas.addEventListener('keydown', (event) => this.#key(event));
  }

  /** Width of the brush as a part of the picture's longer side. */
  get size(): number {
    return this.#size;
  }
  set size(size: number) {
    this.#size = within(size, SIZES.min, SIZES.max);
    this.#show();
  }

  get erases(): boolean {
    return this.#erases;
  }
  set erases(erases: boolean) {
    this.#erases = erases;
    this.#show();
  }

  /** A clean mask over a picture of `width` x `height`. */
  shape(width: number, height: number): void {
    const scale = SIDE / Math.max(width, height);
    // Setting a size clears the canvas.
    this.#canvas.width = Math.max(1, Math.round(width * scale));
    this.#canvas.height = Math.max(1, Math.round(height * scale));
    if (this.#context) Object.assign(this.#context, { lineCap: 'round', lineJoin: 'round', strokeStyle: '#fff' });
    this.#at = [this.#canvas.width / 2, this.#canvas.height / 2];
    this.clear();
  }

  clear(): void {
    this.#strokes = [];
    this.#context?.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.erases = false;
  }

  /** Whether there is a stroke to take back. */
  get painted(): boolean {
    return this.#strokes.length > 0;
  }

  /** Takes the last stroke back, also one that is still being painted. */
  undo(): void {
    this.#pointer = null;
    this.#strokes.pop();
    this.#context?.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    for (const { places, ...stroke } of this.#strokes) {
      for (const [i, place] of places.entries()) this.#line(stroke, places[i - 1] ?? place, place);
    }
    this.#changed();
  }

  /** What was painted, white on black; undefined where there is nothing, or nothing is left of it. */
  mask(): OffscreenCanvas | undefined {
    const { width, height } = this.#canvas;
    const data = this.#context?.getImageData(0, 0, width, height).data;
    if (!data?.some((value, i) => i % 4 === 3 && value > 127)) return undefined;
    const mask = new OffscreenCanvas(width, height);
    const context = mask.getContext('2d');
    context?.fillRect(0, 0, width, height);
    context?.drawImage(this.#canvas, 0, 0);
    return mask;
  }

  #down(event: PointerEvent): void {
    // The tip of a pen or the main button; a second finger does not paint.
    if (this.#pointer !== null || event.button !== 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointer = event.pointerId;
    this.#at = this.#place(event);
    this.#begin();
  }

  #up(): void {
    this.#pointer = null;
    this.#changed();
  }

  /** A stroke begins where the brush is. */
  #begin(): void {
    this.#strokes.push({ width: this.#size * SIDE, erases: this.#erases, places: [] });
    this.#go(this.#at, true);
  }

  #move(event: PointerEvent): void {
    if (this.#pointer !== null && event.pointerId !== this.#pointer) return;
    this.#go(this.#place(event), this.#pointer !== null);
  }

  /** Where the pointer is, in the mask's pixels, also where the page is zoomed, turned or scaled. */
  #place({ offsetX, offsetY }: PointerEvent): Place {
    const { clientWidth, clientHeight, currentCSSZoom = 1 } = this.#canvas as HTMLCanvasElement & { currentCSSZoom?: number };
    const { width, height } = this.#canvas;
    return [(offsetX * width) / (clientWidth * currentCSSZoom), (offsetY * height) / (clientHeight * currentCSSZoom)];
  }

  #go(to: Place, paints: boolean): void {
    const stroke = this.#strokes.at(-1);
    if (paints && stroke) {
      this.#line(stroke, this.#at, to);
      stroke.places.push(to);
    }
    this.#at = to;
    this.#show();
  }

  #line({ width, erases }: Pick<Stroke, 'width' | 'erases'>, from: Place, to: Place): void {
    const context = this.#context;
    if (!context) return;
    context.lineWidth = width;
    context.globalCompositeOperation = erases ? 'destination-out' : 'source-over';
    context.beginPath();
    context.moveTo(...from);
    // Canvases leave out lines without a length.
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      // Without a stroke the key is the page's.
      if (!isUndo(event) || !this.painted) return;
      event.preventDefault();
      return this.undo();
    }
    const step = (x: number, y: number) => {
      const by = (this.#size * SIDE) / 2;
      this.#go([within(this.#at[0] + x * by, 0, this.#canvas.width), within(this.#at[1] + y * by, 0, this.#canvas.height)], false);
    };
    const keys: { [key: string]: () => void } = {
      arrowleft: () => step(-1, 0),
      arrowright: () => step(1, 0),
      arrowup: () => step(0, -1),
      arrowdown: () => step(0, 1),
      ' ': () => this.#begin(),
      enter: () => this.#begin(),
      e: () => (this.erases = !this.erases),
      '[': () => (this.size *= 0.8),
      ']': () => (this.size *= 1.25),
    };
    const act = keys[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
    this.#changed();
  }

  #show(): void {
    const { width, height } = this.#canvas;
    const part = (of: number) => `${100 * of}%`;
    const style = this.#ring.style;
    style.setProperty('left', part(this.#at[0] / width));
    style.setProperty('top', part(this.#at[1] / height));
    style.setProperty('width', part((this.#size * SIDE) / width));
    this.#ring.classList.toggle('erases', this.#erases);
  }
}

function isUndo({ key, altKey, shiftKey }: KeyboardEvent): boolean {
  return key.toLowerCase() === 'z' && !altKey && !shiftKey;
}

function within(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
