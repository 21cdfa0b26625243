"""Identifiers of licenses on the hub of Hugging Face: https://huggingface.co/docs/hub/repositories-licenses."""

_CREATIVE_COMMONS = (
    *("cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
    *("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
)
_GNU = ("agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr")
_OF_MODELS = (
    *("openrail", "openrail++", "bigscience-openrail-m", "creativeml-openrail-m", "bigscience-bloom-rail-1.0"),
    *("bigcode-openrail-m", "deepfloyd-if-license", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4"),
    *("grok2-community",),
    *("gemma", "fair-noncommercial-research-license", "apple-amlr", "apple-ascl", "intel-research", "h-research"),
)
_OF_DATA = ("c-uda", "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "odc-by", "odbl", "pddl")
_OF_SOFTWARE = (
    *("apache-2.0", "mit", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause"),
    *("bsd-3-clause-clear", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "isc", "lppl-1.3c"),
    *(
        "ms-pl",
        "mpl-2.0",
        "ofl-1.1",
        "openmdw-1.0",
        "openmdw-1.1",
        "osl-3.0",
        "postgresql",
        "ncsa",
        "unlicense",
        "wtfpl",
        "zlib",
    ),
)
KNOWN = (*_OF_SOFTWARE, *_OF_MODELS, *_CREATIVE_COMMONS, *_GNU, *_OF_DATA, "unknown", "other")
