//! The words of the app, in English and Chinese.

use crate::externs::package_word;
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
    known: "What it knows", "它知道的词";
    whole: "Without paint the whole picture is drawn anew: its middle square, in", "不涂抹时会重画整张图片：中间的正方形，尺寸为";
    whole_brush: "Paint over what may change instead", "改为涂抹要改的部分";
    share: "Copy a link to this text and seed", "复制包含提示词和种子的链接";
    shared: "The link is copied.", "链接已复制。";
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
    negative: "Without (led away from)", "不要出现的内容";
    count: "Pictures", "张数";
    seed: "Seed", "种子";
    dice: "New seed", "随机种子";
    bad_seed: "A seed is a whole number from 0 to 9007199254740991. The one before stays.", "种子须为 0 到 9007199254740991 的整数，已恢复原来的种子。";
    lock: "Keep this seed", "固定种子";

    stage: "Picture", "图片";
    gallery_title: "Describe a picture, choose one of these, or drop your own", "描述一张图片，选择下面的一张，或拖入自己的图片";
    gallery_note: "The nano model drew all of these. You can also paste a picture, or open a file.", "它们都由 nano 模型绘制。也可以粘贴图片，或打开文件。";
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
    enlarged: "Download it larger", "下载更大的图片";
    enlarged_note: "Larger, but with no more detail.", "尺寸更大，但细节不变。";
    zoom_in: "Look closer", "放大";
    zoom_out: "Look from farther away", "缩小";
    use_again: "Use its text and settings", "使用它的提示词和设置";
    vary: "Four more like it", "再画四张类似的";
    seen: "The model sees:", "模型看到：";
    missing: "It misses:", "缺少：";
    try_again: "Try again with another seed", "换个种子再试";
    choose: "Choose a picture", "选择一张图片";
    preview: "The picture so far", "目前的图片";

    brush: "Brush: change only what is painted", "画笔：只改涂抹的部分";
    eraser: "Eraser", "橡皮";
    brush_size: "Brush size", "画笔大小";
    clear_mask: "Clear the mask", "清除蒙版";
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
    deleted: "Deleted pictures:", "已删除的图片：";
    undelete: "Bring back", "恢复";
    delete: "Delete", "删除";
    opened: "Opened picture", "打开的图片";
    restored: "The picture's prompt and settings are restored.", "已恢复图片的提示词和设置。";
    other_model: "Another model drew it:", "绘制它的是另一个模型：";

    device: "Device", "设备";
    close: "Close", "关闭";
    backend: "Computed by", "计算方式";
    backend_choice: "Compute with", "计算设备";
    backend_auto: "Whichever is faster", "自动选择";
    backend_processor: "Processor", "处理器";
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
    no_model: "No model", "没有模型";
    progress: "Progress", "进度";
    step: "Step", "步骤";
    done_generate: "The picture is drawn.", "图片已生成。";
    done_edit: "The picture is changed.", "图片已修改。";
    dismiss: "Dismiss", "关闭提示";
    again: "Try again", "重试";
    recovering: "The GPU was lost. The engine starts again by itself.", "GPU 连接丢失，引擎正在自动恢复。";
    lost: "The GPU was lost.", "GPU 连接丢失。";
    lost_hint: "Try again; if that fails, close other tabs or reload the page.", "请重试；如仍失败，请关闭其他标签页或重新载入本页。";

    no_picture: "There is no picture yet.", "还没有图片。";
    no_picture_hint: "Draw one, or open one.", "请先生成或打开一张图片。";
    no_prompt: "There is no text yet.", "还没有输入文字。";
    no_prompt_hint: "Write some, or choose an example.", "请输入文字，或选择一个示例。";
    unreadable: "This file is not a picture that the browser can read.", "浏览器无法读取这个文件。";
    unreadable_hint: "Choose a PNG, JPEG, WebP, GIF or AVIF picture.", "请选择 PNG、JPEG、WebP、GIF 或 AVIF 图片。";
    not_kept: "The picture could not be kept in the history.", "无法把图片保存到历史。";
    not_kept_hint: "Download it before you leave the page.", "离开页面前请先下载。";
    not_saved: "The picture could not be saved.", "无法保存图片。";
    not_saved_hint: "It may be too large for this browser. Choose a smaller size.", "图片可能过大，请选择较小的尺寸。";
    not_shared: "The link could not be copied.", "无法复制链接。";
    not_shared_hint: "Allow the clipboard for this page.", "请允许本页使用剪贴板。";
    not_copied: "The picture could not be copied.", "无法复制图片。";
    not_copied_hint: "Allow the clipboard for this page, or download it.", "请允许本页使用剪贴板，或直接下载。";
}

impl Words {
    /// What failures of a code have in common, and what to do.
    pub fn failure(&self, code: &str) -> String {
        let word = |code| package_word(self.lang, &["failures", code]);
        word(code).or_else(|| word("crashed")).unwrap_or_default()
    }

    /// Says that words follow which the model has not learned.
    pub fn unknown(&self) -> String {
        package_word(self.lang, &["unknown"]).unwrap_or_default()
    }

    /// What the brush is and does.
    pub fn mask(&self) -> String {
        package_word(self.lang, &["mask"]).unwrap_or_default()
    }
}
