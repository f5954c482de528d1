//! The words of the app, in English and Chinese.

use crate::externs::Phase;
use crate::lang::Lang;

impl Lang {
    /// What the app says in it.
    pub fn words(self) -> &'static Words {
        match self {
            Self::En => &EN,
            Self::Zh => &ZH,
        }
    }
}

macro_rules! words {
    ($($name:ident: $en:literal, $zh:literal;)*) => {
        /// Everything that the app says.
        pub struct Words {
            pub lang: Lang,
            $(pub $name: &'static str,)*
        }
        static EN: Words = Words { lang: Lang::En, $($name: $en,)* };
        static ZH: Words = Words { lang: Lang::Zh, $($name: $zh,)* };
    };
}

words! {
    title: "UniGen: draw and edit pictures in the browser", "UniGen：在浏览器里画图和改图";
    tagline: "Pictures are made on this machine. Nothing is uploaded.", "图片都在本机生成，不会上传任何内容。";
    skip: "Skip to the prompt", "跳到提示词";
    other_lang: "中文", "English";
    theme: "Colours", "配色";
    theme_auto: "System", "跟随系统";
    theme_light: "Light", "浅色";
    theme_dark: "Dark", "深色";
    docs: "Embed", "嵌入";

    tasks: "What to do", "任务";
    generate: "Generate", "生成";
    edit: "Edit", "编辑";
    ask: "Ask", "提问";

    prompt_generate: "What should it show?", "想画什么？";
    prompt_edit: "What should change?", "想改什么？";
    prompt_ask: "What do you want to know?", "想知道什么？";
    prompt_note: "The model reads English.", "模型只懂英语，请用英语输入。";
    examples: "Examples", "示例";
    run_generate: "Draw", "生成";
    run_edit: "Change it", "修改";
    run_ask: "Ask", "提问";
    cancel: "Cancel", "取消";
    cancelled: "Cancelled.", "已取消。";
    shortcut: "Ctrl + Enter", "Ctrl + Enter";

    settings: "Settings", "设置";
    reset: "Use the model's own", "恢复模型默认值";
    steps: "Steps", "步数";
    guidance: "Text guidance", "文本引导";
    image_guidance: "Image guidance", "图像引导";
    count: "Pictures", "张数";
    seed: "Seed", "种子";
    dice: "New seed", "随机种子";
    bad_seed: "A seed is a whole number from 0 to 9007199254740991. The one before stays.", "种子须为 0 到 9007199254740991 的整数，已恢复原来的种子。";
    lock: "Keep this seed", "固定种子";

    stage: "Picture", "图片";
    empty_title: "Describe a picture, or drop one here", "描述一张图片，或把图片拖到这里";
    empty_note: "You can also paste one, or open a file.", "也可以粘贴，或打开文件。";
    drop_here: "Drop the picture", "松开以打开图片";
    open: "Open a picture", "打开图片";
    undo: "Undo", "撤销";
    redo: "Redo", "重做";
    compare: "Compare with before", "与之前对比";
    before: "Before", "之前";
    after: "After", "之后";
    download: "Download as PNG", "下载 PNG";
    copy: "Copy", "复制";
    copied: "Copied.", "已复制。";
    choose: "Choose a picture", "选择一张图片";
    preview: "The picture so far", "目前的图片";

    brush: "Brush: change only what is painted", "画笔：只改涂抹的部分";
    eraser: "Eraser", "橡皮";
    brush_size: "Brush size", "画笔大小";
    clear_mask: "Clear the mask", "清除蒙版";
    mask: "Mask. Arrow keys move the brush, Space paints, E erases, [ and ] change its size.",
        "蒙版。方向键移动画笔，空格键涂抹，E 切换橡皮，[ 和 ] 改变大小。";
    extend: "Extend the canvas", "扩展画布";
    extend_note: "Where the picture stays; the rest is drawn anew.", "图片保留的位置，其余部分重新绘制。";
    extend_none: "Do not extend", "不扩展";
    top: "top", "上";
    middle: "middle", "中";
    bottom: "bottom", "下";
    left: "left", "左";
    center: "centre", "中";
    right: "right", "右";

    answers: "Questions and answers", "问答";
    no_answers: "Answers appear here.", "答案会出现在这里。";
    no_answer: "The model says nothing.", "模型没有给出答案。";

    history: "History", "历史";
    history_empty: "Pictures that you make or open are kept here, on this machine.", "生成或打开的图片会保存在本机，并显示在这里。";
    history_clear: "Delete all", "全部删除";
    history_clear_sure: "Delete all pictures of the history?", "要删除历史中的所有图片吗？";
    delete: "Delete", "删除";
    opened: "Opened picture", "打开的图片";
    restored: "The picture's prompt and settings are restored.", "已恢复图片的提示词和设置。";
    other_model: "Another model drew it:", "绘制它的是另一个模型：";

    device: "Device", "设备";
    close: "Close", "关闭";
    backend: "Computed by", "计算方式";
    backend_webgpu: "GPU, through WebGPU", "GPU（WebGPU）";
    backend_cpu: "Processor, through WebAssembly", "处理器（WebAssembly）";
    processor: "CPU: ", "处理器：";
    why: "Why", "原因";
    why_gpu: "the browser offers a GPU", "浏览器提供 GPU";
    why_faster: "the software GPU here is the faster", "这里的软件 GPU 更快";
    why_none: "no WebGPU here", "这里没有 WebGPU";
    why_slower: "the software GPU here is slower", "这里的软件 GPU 更慢";
    why_closed: "the GPU cannot be opened", "GPU 无法打开";
    adapter: "Adapter", "适配器";
    adapter_none: "none", "无";
    software: "software", "软件";
    features: "Features", "特性";
    memory: "Memory of the engine", "引擎内存";
    storage: "Kept on this machine", "本机存储";
    storage_opfs: "in this site's files", "保存在本站文件中";
    storage_memory: "not kept (no storage here)", "未保存（无可用存储）";
    model: "Model", "模型";
    step_time: "Time per step", "每步时间";
    not_yet: "not measured yet", "尚未测量";
    version: "Version", "版本";
    purge: "Delete the kept model", "删除已保存的模型";
    purged: "The kept model is deleted. It will be downloaded again when needed.", "已删除保存的模型，需要时会重新下载。";

    loading: "Starting", "正在启动";
    phase_download: "Downloading the model", "正在下载模型";
    phase_weights: "Loading the model", "正在载入模型";
    phase_warmup: "Warming up", "正在预热";
    no_model: "No model", "没有模型";
    progress: "Progress", "进度";
    step: "Step", "步骤";
    preparing: "Preparing", "正在准备";
    finishing: "Finishing the picture", "正在完成图片";
    answering: "Answering", "正在回答";
    done_generate: "The picture is drawn.", "图片已生成。";
    done_edit: "The picture is changed.", "图片已修改。";
    dismiss: "Dismiss", "关闭提示";
    again: "Try again", "重试";
    recovering: "The GPU was lost. The engine starts again by itself.", "GPU 连接丢失，引擎正在自动恢复。";
    lost: "The GPU was lost.", "GPU 连接丢失。";
    lost_hint: "Try again; if that fails, close other tabs or reload the page.", "请重试；如仍失败，请关闭其他标签页或重新载入本页。";

    fail_network: "The model could not be downloaded.", "无法下载模型。";
    fail_integrity: "The downloaded model is damaged.", "下载的模型已损坏。";
    fail_manifest: "There is no usable model here.", "这里没有可用的模型。";
    fail_memory: "There is not enough memory.", "内存不足。";
    fail_unsupported: "This browser lacks something that the engine needs.", "此浏览器缺少引擎所需的功能。";
    fail_image: "The picture cannot be used.", "无法使用这张图片。";
    fail_text: "The text cannot be used.", "无法使用这段文字。";
    fail_config: "A setting is out of range.", "设置超出范围。";
    fail_device: "The device failed.", "设备出错。";
    fail_other: "That did not work.", "操作失败。";
    advice_network: "Check the connection, then try again.", "请检查网络连接，然后重试。";
    advice_manifest: "Try again; if that fails, tell whoever runs this page.", "请重试；如仍失败，请联系本页的维护者。";
    advice_memory: "Close other tabs, then try again.", "请关闭其他标签页，然后重试。";
    advice_unsupported: "Use the newest version of this browser, or another one.", "请更新浏览器，或换用其他浏览器。";
    advice_image: "Choose another picture, or another place on it.", "请换一张图片，或换一处涂抹。";
    advice_text: "Write another text, perhaps a shorter one.", "请换一段文字，或写得短一些。";
    advice_config: "Go back to the model's own settings.", "请恢复模型默认值。";
    advice_device: "Try again; if that fails, reload the page.", "请重试；如仍失败，请重新载入本页。";
    no_picture: "There is no picture yet.", "还没有图片。";
    no_picture_hint: "Draw one, or open one.", "请先生成或打开一张图片。";
    no_prompt: "There is no text yet.", "还没有输入文字。";
    no_prompt_hint: "Write some, or choose an example.", "请输入文字，或选择一个示例。";
    unreadable: "This file is not a picture that the browser can read.", "浏览器无法读取这个文件。";
    unreadable_hint: "Choose a PNG, JPEG, WebP, GIF or AVIF picture.", "请选择 PNG、JPEG、WebP、GIF 或 AVIF 图片。";
    not_kept: "The picture could not be kept in the history.", "无法把图片保存到历史。";
    not_kept_hint: "Download it before you leave the page.", "离开页面前请先下载。";
    not_copied: "The picture could not be copied.", "无法复制图片。";
    not_copied_hint: "Allow the clipboard for this page, or download it.", "请允许本页使用剪贴板，或直接下载。";
}

impl Words {
    /// What failures of a code have in common.
    pub fn failure(&self, code: &str) -> &'static str {
        match code {
            "network" => self.fail_network,
            "integrity" => self.fail_integrity,
            "manifest" | "notloaded" | "io" | "weights" => self.fail_manifest,
            "memory" => self.fail_memory,
            "unsupported" => self.fail_unsupported,
            "image" => self.fail_image,
            "text" => self.fail_text,
            "config" => self.fail_config,
            "device" | "devicelost" => self.fail_device,
            _ => self.fail_other,
        }
    }

    /// What to do about failures of a code, where the failure itself says it in another language.
    pub fn advice(&self, code: &str) -> &'static str {
        match code {
            "network" => self.advice_network,
            "integrity" | "manifest" | "notloaded" | "io" | "weights" => self.advice_manifest,
            "memory" => self.advice_memory,
            "unsupported" => self.advice_unsupported,
            "image" => self.advice_image,
            "text" => self.advice_text,
            "config" => self.advice_config,
            _ => self.advice_device,
        }
    }

    /// What a call is doing.
    pub fn phase(&self, phase: Phase) -> &'static str {
        match phase {
            Phase::Download => self.phase_download,
            Phase::Warmup => self.phase_warmup,
            Phase::Weights => self.phase_weights,
            Phase::Encode => self.preparing,
            Phase::Decode => self.step,
            Phase::Paint => self.finishing,
            Phase::Answer => self.answering,
        }
    }
}

/// Prompts to begin with, in what the model reads; of each task.
pub const EXAMPLES: [&[&str]; 3] = [
    &[
        "a photo of a red apple",
        "two yellow cats on a blue background",
        "a green car left of a purple dog",
        "three orange umbrellas",
        "a pink elephant above a brown bench",
    ],
    &[
        "make the background blue",
        "add a yellow banana",
        "turn the picture into pixel art",
        "make the apple bigger",
        "remove the dog",
    ],
    &["what is in the picture?", "how many cats are there?", "what color is the apple?", "is there a dog?"],
];
