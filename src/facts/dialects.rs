//! How each kind of list names its facts: one row for each, with its source.
//!
//! A path is a member of an entry, or with a dot a member of that. Limits: `created` is not read
//! from servers that write another time there; prices are read only in the type and unit that
//! the dialect documents.

use super::said::Set::{self, Input, Output, Supports};

/// A kind of list.
pub struct Dialect {
    /// The provider or program that writes it.
    pub name: &'static str,
    /// Where the fields are documented, or the list itself if it is public and they are not.
    pub source: &'static str,
    /// An entry is in this dialect if all of these hold, and those of no row above do.
    pub(super) marks: &'static [Mark],
    pub(super) says: &'static [Says],
}

/// What identifies a dialect: a path, and what is there.
pub(super) type Mark = (&'static str, Is);

/// What a member of an entry is.
#[derive(Clone, Copy)]
pub(super) enum Is {
    Text,
    Number,
    Flag,
    List,
    Object,
    /// This text or number, as JSON writes it.
    Exactly(&'static str),
}

/// What a field says. Of several fields for one fact, the first known one counts.
pub(super) enum Says {
    Context(&'static str),
    OutputLimit(&'static str),
    Created(&'static str),
    Owner(&'static str),
    Name(&'static str),
    /// A word for the kind of the model, or a list of such words.
    Kind(&'static str),
    /// If this flag is set, the model is of this kind.
    KindIf(&'static str, &'static str),
    /// The prices of input and output, in US dollars for so much, in JSON of this type.
    Price(Per, Is, &'static str, &'static str),
    /// A list of all words of a set.
    All(Set, &'static str),
    /// A list of some words of a set. Of the words given here it names all that the model has.
    Among(Set, &'static str, &'static [&'static str]),
    /// Whether the set has a word: a flag, or an object whose `supported` is the flag.
    Flag(Set, &'static str, &'static str),
    /// If the list of words at this path has a word, this set has another one.
    Implies(&'static str, &'static str, Set, &'static str),
    /// The same, and if the list does not have it, the set does not either.
    Decides(&'static str, &'static str, Set, &'static str),
    /// A list of providers of the model. The cheapest price, the largest context and any support
    /// count.
    Providers(&'static str, &'static [Says]),
}

/// What a price is for.
#[derive(Clone, Copy)]
pub(super) enum Per {
    Token,
    Million,
}

use Is::{Exactly, Flag as Boolean, List, Number, Object, Text};
use Says::{
    All, Among, Context, Created, Decides, Flag, Implies, Kind, KindIf, Name, OutputLimit, Owner,
    Price, Providers,
};

/// All dialects. The last one fits every entry.
pub const DIALECTS: &[Dialect] = &[
    Dialect {
        name: "Hugging Face",
        source: "https://router.huggingface.co/v1/models",
        marks: &[("providers", List)],
        says: &[
            Created("created"),
            Owner("owned_by"),
            All(Input, "architecture.input_modalities"),
            All(Output, "architecture.output_modalities"),
            Providers(
                "providers",
                &[
                    Price(Per::Million, Number, "pricing.input", "pricing.output"),
                    Context("context_length"),
                    Flag(Supports, "tools", "supports_tools"),
                    Flag(Supports, "structured_outputs", "supports_structured_output"),
                ],
            ),
        ],
    },
    Dialect {
        name: "OpenRouter",
        source: "https://openrouter.ai/docs/models",
        marks: &[("pricing.prompt", Text)],
        says: &[
            Price(Per::Token, Text, "pricing.prompt", "pricing.completion"),
            Context("context_length"),
            OutputLimit("top_provider.max_completion_tokens"),
            All(Input, "architecture.input_modalities"),
            All(Output, "architecture.output_modalities"),
            All(Supports, "supported_parameters"),
            Created("created"),
            Name("name"),
        ],
    },
    Dialect {
        name: "DeepInfra",
        source: "https://api.deepinfra.com/v1/openai/models",
        marks: &[("metadata.pricing", Object)],
        says: &[
            Price(
                Per::Million,
                Number,
                "metadata.pricing.input_tokens",
                "metadata.pricing.output_tokens",
            ),
            Context("metadata.context_length"),
            OutputLimit("metadata.max_tokens"),
            Among(Supports, "metadata.tags", &[]),
            Implies("metadata.tags", "vlm", Input, "image"),
            Implies("metadata.tags", "vision", Input, "image"),
            Kind("metadata.tags"),
            Created("created"),
            Owner("owned_by"),
        ],
    },
    Dialect {
        name: "Fireworks",
        source: "https://api.fireworks.ai/inference/v1/models",
        marks: &[("supports_chat", Boolean), ("supports_tools", Boolean)],
        says: &[
            Context("context_length"),
            Flag(Input, "image", "supports_image_input"),
            Flag(Supports, "tools", "supports_tools"),
            Kind("kind"),
            KindIf("supports_chat", "chat"),
            Created("created"),
            Owner("owned_by"),
        ],
    },
    Dialect {
        name: "GitHub Models",
        source: "https://docs.github.com/en/rest/models/catalog",
        marks: &[("supported_input_modalities", List)],
        says: &[
            Context("limits.max_input_tokens"),
            OutputLimit("limits.max_output_tokens"),
            All(Input, "supported_input_modalities"),
            All(Output, "supported_output_modalities"),
            Among(Supports, "capabilities", &["tools", "streaming"]),
            Owner("publisher"),
            Name("name"),
        ],
    },
    Dialect {
        name: "Together",
        source: "https://docs.together.ai/reference/models-1",
        marks: &[("pricing.input", Number), ("type", Text)],
        says: &[
            Price(Per::Million, Number, "pricing.input", "pricing.output"),
            Context("context_length"),
            Kind("type"),
            Created("created"),
            Owner("organization"),
            Name("display_name"),
        ],
    },
    Dialect {
        name: "Mistral",
        source: "https://docs.mistral.ai/api/endpoint/models",
        marks: &[("capabilities.completion_chat", Boolean)],
        says: &[
            Context("max_context_length"),
            Flag(Input, "image", "capabilities.vision"),
            Flag(Input, "audio", "capabilities.audio"),
            Flag(Supports, "tools", "capabilities.function_calling"),
            Flag(Supports, "reasoning", "capabilities.reasoning"),
            Flag(Supports, "completion_fim", "capabilities.completion_fim"),
            Flag(Supports, "fine_tuning", "capabilities.fine_tuning"),
            KindIf("capabilities.completion_chat", "chat"),
            KindIf("capabilities.moderation", "moderation"),
            KindIf("capabilities.audio_transcription", "transcription"),
            Created("created"),
            Owner("owned_by"),
            Name("name"),
        ],
    },
    Dialect {
        name: "Anthropic",
        source: "https://platform.claude.com/docs/en/api/models/list",
        marks: &[("type", Exactly("\"model\"")), ("display_name", Text)],
        says: &[
            Context("max_input_tokens"),
            OutputLimit("max_tokens"),
            Flag(Input, "image", "capabilities.image_input"),
            Flag(Input, "file", "capabilities.pdf_input"),
            Flag(Supports, "reasoning", "capabilities.thinking"),
            Flag(Supports, "structured_outputs", "capabilities.structured_outputs"),
            Flag(Supports, "batch", "capabilities.batch"),
            Flag(Supports, "citations", "capabilities.citations"),
            Flag(Supports, "code_execution", "capabilities.code_execution"),
            Created("created_at"),
            Name("display_name"),
        ],
    },
    Dialect {
        name: "Gemini",
        source: "https://ai.google.dev/api/models",
        marks: &[("supportedGenerationMethods", List)],
        says: &[
            Context("inputTokenLimit"),
            OutputLimit("outputTokenLimit"),
            Flag(Supports, "reasoning", "thinking"),
            Among(Supports, "supportedGenerationMethods", &[]),
            Kind("supportedGenerationMethods"),
            Name("displayName"),
        ],
    },
    Dialect {
        name: "Cohere",
        source: "https://docs.cohere.com/reference/list-models",
        marks: &[("endpoints", List), ("name", Text)],
        says: &[
            Context("context_length"),
            Among(Supports, "features", &["tools", "structured_outputs", "json_mode"]),
            Flag(Input, "image", "supports_vision"),
            Implies("features", "vision", Input, "image"),
            Kind("endpoints"),
            Name("name"),
        ],
    },
    Dialect {
        name: "Groq",
        source: "https://console.groq.com/docs/api-reference#models",
        marks: &[("context_window", Number), ("active", Boolean)],
        says: &[
            Context("context_window"),
            OutputLimit("max_completion_tokens"),
            Created("created"),
            Owner("owned_by"),
        ],
    },
    Dialect {
        // `created` is the time of the answer.
        name: "vLLM",
        source: "https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/openai/protocol.py",
        marks: &[("max_model_len", Number)],
        says: &[Context("max_model_len"), Owner("owned_by")],
    },
    Dialect {
        // `created` is the time of the answer. `n_ctx` is the window that the server allocated,
        // `n_ctx_train` that of the model.
        name: "llama.cpp",
        source: "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        marks: &[("owned_by", Exactly("\"llamacpp\""))],
        says: &[
            Context("meta.n_ctx"),
            Context("meta.n_ctx_train"),
            Owner("owned_by"),
            All(Input, "architecture.input_modalities"),
            All(Output, "architecture.output_modalities"),
        ],
    },
    Dialect {
        name: "LM Studio",
        source: "https://lmstudio.ai/docs/developer/rest/endpoints",
        marks: &[("compatibility_type", Text)],
        says: &[
            Context("max_context_length"),
            Kind("type"),
            Decides("type", "vlm", Input, "image"),
            Among(Supports, "capabilities", &["tools"]),
            Owner("publisher"),
        ],
    },
    Dialect {
        name: "LM Studio",
        source: "https://lmstudio.ai/docs/developer/rest/list",
        marks: &[("loaded_instances", List)],
        says: &[
            Context("max_context_length"),
            Kind("type"),
            Flag(Input, "image", "capabilities.vision"),
            Flag(Supports, "tools", "capabilities.trained_for_tool_use"),
            Owner("publisher"),
            Name("display_name"),
        ],
    },
    Dialect {
        // `modified_at` is when the file was pulled or made.
        name: "Ollama",
        source: "https://docs.ollama.com/api/tags",
        marks: &[("modified_at", Text), ("digest", Text)],
        says: &[
            Created("modified_at"),
            Context("details.context_length"),
            Among(Supports, "capabilities", &["tools", "reasoning"]),
            Decides("capabilities", "vision", Input, "image"),
            Name("name"),
        ],
    },
    Dialect {
        // `created` is when the file was pulled or made.
        name: "Ollama",
        source: "https://docs.ollama.com/api/openai-compatibility",
        marks: &[("owned_by", Exactly("\"library\""))],
        says: &[Created("created"), Owner("owned_by")],
    },
    Dialect {
        name: "LiteLLM",
        source: "https://docs.litellm.ai/docs/proxy/model_management",
        marks: &[("model_info", Object)],
        says: &[
            Price(
                Per::Token,
                Number,
                "model_info.input_cost_per_token",
                "model_info.output_cost_per_token",
            ),
            Context("model_info.max_input_tokens"),
            OutputLimit("model_info.max_output_tokens"),
            Flag(Input, "image", "model_info.supports_vision"),
            Flag(Input, "audio", "model_info.supports_audio_input"),
            Flag(Input, "file", "model_info.supports_pdf_input"),
            Flag(Output, "audio", "model_info.supports_audio_output"),
            Flag(Supports, "tools", "model_info.supports_function_calling"),
            Flag(Supports, "reasoning", "model_info.supports_reasoning"),
            Flag(Supports, "structured_outputs", "model_info.supports_response_schema"),
            Flag(Supports, "web_search", "model_info.supports_web_search"),
            Among(Supports, "model_info.supported_openai_params", &[]),
            Kind("model_info.mode"),
            Owner("model_info.litellm_provider"),
        ],
    },
    Dialect {
        // `created` is the same for every model: DEFAULT_MODEL_CREATED_AT_TIME.
        name: "LiteLLM",
        source: "https://docs.litellm.ai/docs/proxy/config_settings",
        marks: &[("created", Exactly("1677610602"))],
        says: &[Context("max_input_tokens"), OutputLimit("max_output_tokens"), Owner("owned_by")],
    },
    Dialect {
        name: "OpenAI",
        source: "https://platform.openai.com/docs/api-reference/models/list",
        marks: &[],
        says: &[Created("created"), Owner("owned_by"), Name("display_name"), Name("name")],
    },
];

/// The words that lists use for a kind.
pub(super) const KINDS: &[(&str, &[&str])] = &[
    ("chat", &["chat", "llm", "vlm", "responses", "generateContent"]),
    ("completion", &["completion", "language", "code", "generate", "generateText"]),
    ("embedding", &["embedding", "embeddings", "embed", "embedContent", "EMBEDDING_MODEL"]),
    ("image", &["image", "image_generation", "FLUMINA_BASE_MODEL"]),
    ("video", &["video", "video_generation", "predictLongRunning"]),
    ("speech", &["audio", "speech", "tts", "audio_speech", "text-to-speech"]),
    ("transcription", &["transcribe", "transcription", "audio_transcription", "stt"]),
    ("rerank", &["rerank", "RERANKER_MODEL"]),
    ("moderation", &["moderation"]),
];

/// What a model of a kind produces: the words, and whether these are all.
pub(super) const PRODUCTS: &[(&str, &[&str], bool)] = &[
    ("chat", &["text"], false),
    ("completion", &["text"], false),
    ("embedding", &["embeddings"], true),
    ("image", &["image"], true),
    ("video", &["video"], false),
    ("speech", &["audio"], true),
    ("transcription", &["text"], true),
    ("rerank", &[], true),
    ("moderation", &[], true),
];
