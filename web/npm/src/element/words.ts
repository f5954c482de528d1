// Words of <unigen-editor>, for visitors; the demo app has the failures, the phases and the brush from here. What a developer wants to know goes with the event `error`.

import type { ErrorCode } from '../error.ts';
import type { Phase } from '../types.d.ts';

export type Mode = 'generate' | 'edit' | 'ask';

/** What failed: a code of the engine, or something that the element itself looks after. */
export type Cause = Exclude<ErrorCode, 'cancelled'> | 'noImage' | 'unreadable' | 'manual';

export interface Words {
  placeholder: Record<Mode, string>;
  label: Record<Mode, string>;
  submit: Record<Mode, string>;
  required: Record<Mode, string>;
  phases: Record<Phase, string>;
  intro: string;
  cancel: string;
  load: string;
  open: string;
  brush: string;
  eraser: string;
  size: string;
  save: string;
  compare: string;
  progress: string;
  picture: string;
  mask: string;
  drawing: string;
  done: string;
  unknown: string;
  failures: Record<Cause, string>;
}

export const words: { en: Words; zh: Words } = {
  en: {
    placeholder: { generate: 'a photo of a red apple', edit: 'make the apple green', ask: 'what is in the picture?' },
    label: { generate: 'What to draw', edit: 'What to change', ask: 'Question about the picture' },
    submit: { generate: 'Draw', edit: 'Edit', ask: 'Ask' },
    phases: {
      download: 'Downloading the model …',
      weights: 'Loading the model …',
      warmup: 'Warming up …',
      encode: 'Reading …',
      decode: 'Drawing …',
      paint: 'Finishing the picture …',
      answer: 'Answering …',
    },
    required: { generate: 'Draw a picture first.', edit: 'Edit the picture first.', ask: 'Ask a question first.' },
    intro: 'Pictures are made on your own device. Nothing is uploaded.',
    cancel: 'Cancel',
    load: 'Load the model',
    open: 'Open a picture',
    brush: 'Brush',
    eraser: 'Eraser',
    size: 'Size of the brush',
    save: 'Save',
    compare: 'Before and after',
    progress: 'Progress',
    picture: 'Picture',
    mask: 'Mask. Arrow keys move the brush, Space paints, E erases, [ and ] change its size.',
    drawing: 'At work …',
    done: 'Done.',
    unknown: 'This model has not learned:',
    failures: {
      config: 'A setting is out of its range. Check steps, guidance and seed.',
      weights: 'The files of this model cannot be used. Please tell the owner of the site.',
      text: 'This text cannot be used. Put it in other words.',
      image: 'This picture or what was painted cannot be used. Choose another picture, or paint again.',
      device: 'The graphics hardware failed. Reload the page.',
      io: 'Something could not be read or kept. Try again.',
      network: 'The model cannot be downloaded. Check your connection and try again; what has come is kept.',
      integrity: 'The model arrived damaged. Try again later, or tell the owner of the site.',
      manifest: 'There is no model here. Please tell the owner of the site.',
      memory: 'There is not enough memory. Close other pages and try again.',
      unsupported: 'This browser or page cannot run the model. Use a current browser, and open the page over https.',
      notloaded: 'The model is not loaded. Try again.',
      busy: 'The model is at work. Wait for it, or cancel.',
      protocol: 'Something went wrong. Reload the page.',
      crashed: 'Something went wrong. Try again; if it fails again, reload the page.',
      devicelost: 'The graphics hardware went away. Try again; if it fails again, reload the page.',
      closed: 'The model was closed. Try again.',
      noImage: 'There is no picture yet. Open one, or drop one here.',
      unreadable: 'This picture cannot be read. Choose a PNG, JPEG, WebP, GIF or AVIF picture.',
      manual: 'The model is not loaded. Press “Load the model” first.',
    },
  },
  zh: {
    placeholder: { generate: 'a photo of a red apple', edit: 'make the apple green', ask: 'what is in the picture?' },
    label: { generate: '画什么', edit: '改什么', ask: '关于图片的问题' },
    submit: { generate: '生成', edit: '编辑', ask: '提问' },
    phases: {
      download: '正在下载模型…',
      weights: '正在载入模型…',
      warmup: '正在预热…',
      encode: '正在读取…',
      decode: '正在绘制…',
      paint: '正在完成图片…',
      answer: '正在回答…',
    },
    required: { generate: '请先生成一张图片。', edit: '请先编辑图片。', ask: '请先提问。' },
    intro: '图片在您自己的设备上生成，不会上传任何内容。',
    cancel: '取消',
    load: '载入模型',
    open: '打开图片',
    brush: '画笔',
    eraser: '橡皮',
    size: '画笔大小',
    save: '保存',
    compare: '前后对比',
    progress: '进度',
    picture: '图片',
    mask: '蒙版。方向键移动画笔，空格键涂抹，E 切换橡皮，[ 和 ] 改变大小。',
    drawing: '正在处理…',
    done: '完成。',
    unknown: '这个模型没有学过：',
    failures: {
      config: '设置超出范围。请检查步数、引导强度和种子。',
      weights: '模型文件无法使用。请告知网站所有者。',
      text: '无法使用这段文字。请换一种说法。',
      image: '无法使用这张图片或蒙版。请换一张图片，或重新涂抹。',
      device: '计算设备出错。请重新加载页面。',
      io: '读取或保存时出错。请重试。',
      network: '无法下载模型。请检查网络连接后重试，已下载的部分会保留。',
      integrity: '下载的模型已损坏。请稍后重试，或告知网站所有者。',
      manifest: '这里没有可用的模型。请告知网站所有者。',
      memory: '内存不足。请关闭其他页面后重试。',
      unsupported: '此浏览器或页面缺少引擎所需的功能。请使用较新的浏览器，并通过 https 打开页面。',
      notloaded: '模型尚未载入。请重试。',
      busy: '引擎正忙。请等待，或取消当前任务。',
      protocol: '引擎出错。请重新加载页面。',
      crashed: '引擎出错。请重试；若仍失败，请重新加载页面。',
      devicelost: '引擎已中断。请重试；若仍失败，请重新加载页面。',
      closed: '引擎已关闭。请重试。',
      noImage: '还没有图片。请打开一张图片，或把它拖到这里。',
      unreadable: '浏览器无法读取这张图片。请选择 PNG、JPEG、WebP、GIF 或 AVIF 图片。',
      manual: '模型尚未载入。请先按“载入模型”。',
    },
  },
};

/** The words of the language that holds for `element`, which may be in other components. */
export function wordsFor(element: HTMLElement): Words {
  return words[languageOf(element).toLowerCase().startsWith('zh') ? 'zh' : 'en'];
}

function languageOf(element: HTMLElement): string {
  for (let at: Element | null = element; at; ) {
    const said: HTMLElement | null = at.closest<HTMLElement>('[lang]:not([lang=""])');
    if (said) return said.lang;
    const root = at.getRootNode();
    at = 'host' in root ? (root as ShadowRoot).host : null;
  }
  return navigator.language;
}
