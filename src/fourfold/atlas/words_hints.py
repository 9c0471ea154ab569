"""What words imply about a mechanism when its paradigm is not named: the usual company of an objective or of a sampler.

Rows are as in ``words_table``; most lean rather than decide, and two of them together are needed for an answer.
"""

from __future__ import annotations

from fourfold.atlas.evidence import Claim as C  # noqa: N817

__all__ = ["HINTS"]

HINTS: tuple[tuple[C, float, str], ...] = (
    # --- next piece
    (
        C.NEXT_PIECE,
        1.5,
        r"\btokeni[sz](?:es?|ed|ing)\b(?: \w+){0,6} \b(?:values|images?|audio|series|actions?|graphs?|molecules?|meshes|motion|vocabulary)\b|\bfixed vocabulary\b|\binto (?:a sequence of )?(?:discrete )?tokens\b",
    ),
    (C.NEXT_PIECE, 2.0, r"\btokens?\b[^.;]{0,60}\bcross-?entropy\b|\bcross-?entropy\b[^.;]{0,40}\btokens?\b"),
    (
        C.NEXT_PIECE,
        2.0,
        r"\b(?:delays?|interleav\w+)\b[^.;]{0,30}\b(?:codebooks?|token|pattern)|\bmodel(?:l?ing|s)? (?:those|these|the|discrete|resulting) (?:codes|tokens|units)\b|\bto (?:discrete|a sequence of) (?:codes|tokens|units)\b",
    ),
    (C.NEXT_PIECE, 2.0, r"\b(?:decompos|factori[sz]|cast|formulat|treat|fram)\w* [^.;]{0,90}\b(?:into|as) an? (?:seq2seq|sequence[- ]to[- ]sequence|sequence of|sequence modell?ing|sequential)\b"),
    (C.NEXT_PIECE, 1.2, r"\bcontinuations?\b(?! of the)|\bin a seq2seq\b|\bminute-long\b|\bprefix(?:es)?\b|\bprompt tokens?\b"),
    (C.NEXT_PIECE, 0.8, r"\b(?:few|zero|one)-shot (?:setting|performance|learn\w+|prompt\w*|evaluation|demonstration)s?\b|\bcorpus of text\b|\bpre-?training on [^.;]{0,20}text\b"),
    (C.NEXT_PIECE, 1.5, r"\bcontext-?free prompts?\b|\bcode models?\b|\bgenerative pre-?train\w*|\bopen-ended (?:text|generation)\b|\blanguage generation\b"),
    (C.ONE_BY_ONE, 1.5, r"\bpartially generated\b|\bexposure bias\b|\bspeculative decoding\b|\bautocomplet\w+|\bsequential steps\b"),
    (C.NEXT_PIECE, 2.5, r"\btext[- ]to[- ]text\b"),
    (C.NEXT_PIECE, 2.0, r"\bvocabulary\b[^.;]{0,40}\btokens?\b|\bgenerat\w+ (?:\w+ ){0,6}(?:[\dK,-]+|hundreds of|thousands of) tokens\b|\bmodel\w* (?:the |these |those |their )?discrete (?:latents?|codes?|indices|representations?)\b"),
    (C.ONE_BY_ONE, 2.5, r"\b(?:predict|generat|emit|draw|sampl)\w* (?:[\w-]+ ){0,6}sequentially\b"),
    (C.NEXT_PIECE, 1.2, r"\bsequence model(?:l?ing|l?ers?|s)?\b|\b(?:character|word|subword|byte)-level (?!class)|\bneural machine translation\b|\b(?:acoustic|speech|audio|melody) prompts?\b"),
    (C.NEXT_PIECE, 1.5, r"\bgenerat\w+ (?:the |output |discrete )*tokens?\b|\btoken ids?\b"),
    (
        C.NEXT_PIECE,
        2.0,
        r"\b(?:image|video|speech|audio|vision)-to-(?:text|language)\b|\bfollow (?:natural )?language instructions\b|\bvisual question answering\b|\bVQA(?:v2)?\b|\binstruction[- ]following\b",
    ),
    (C.NEXT_PIECE, 1.5, r"\bevent sequences?\b|\bprim(?:er|ing)\b|\bnote-o(?:n|ff)\b|\bsymbolic music\b"),
    (C.NEXT_PIECE, 0.8, r"\b(?:RNN|LSTM|GRU)s?\b(?! (?:encoder|decoder))"),
    (C.NEXT_PIECE, 3.0, r"\bcondition\w* on (?:the )?(?:pixels|tokens|positions|rows?|notes|frames) (?:above|to the left|before|so far|already)\b"),
    # --- masked symbols
    (
        C.MASKED_BOUND,
        2.5,
        r"\b(?:variable|random|varying|all|uniform(?:ly)?|sampled) (?:masking |mask )(?:rates?|ratios?)\b|\bdata masking process\b|\bmask(?:ing|ed)? at (?:a )?(?:random|varying|every) (?:rate|ratio|level)s?\b",
    ),
    (C.FILL_MASKS, 2.5, r"\biterative(?:ly)? (?:\w+ ){0,2}(?:sampl|decod|predict|fill|unmask)\w* (?:the )?(?:remaining )?masked\b|\biterative (?:parallel )?decoding\b|\bconfidence-based (?:parallel )?decod\w+"),
    # --- latent variable
    (
        C.BOUND,
        2.0,
        r"\blatent random variables?\b|\blatent vectors? model|\btotal correlation\b|\b(?:interpolat\w+|arithmetic) (?:in|through|within) (?:the |a )?latent\b|\bstochastic latent\b|\bbottom-up recognition\b|\baggregated posterior\b",
    ),
    (C.BOUND, 1.5, r"\blatent dynamics\b|\bstochastic (?:transition|hidden|recurrent)\b"),
    (C.EXACT_LATENT, 2.5, r"\b(?:finite|normal|gaussian|bernoulli|multinomial|dirichlet(?: process)?|infinite) mixtures?\b|\bmixture (?:model(?:l?ing)?|estimation)\b|\bmodel-based clustering\b"),
    (C.BOUND, 1.5, r"\bprobabilistic (?:representation|encoder|decoder|embedding)\b|\bhierarchical decoder\b|\bembedding space of (?:molecules|sentences)|\bposterior inference\b|\blatent code\b|\bcontinuous (?:latent )?(?:representation|embedding) of (?:molecul|sentence|graph)"),
    (C.BOUND, 1.5, r"\b(?:batch|depth-wise|residual)[^.;]{0,60}\bspectral regulari[sz]ation\b|\bparameteri[sz]ation of (?:the )?(?:normal|gaussian|posterior)\b|\bhierarchical\b[^.;]{0,30}\b(?:latent|stochastic) (?:layers|variables)\b"),
    # --- adversarial
    (C.GAME, 1.5, r"\bimage-to-image (?:translation|mapping)s?\b|\bunpaired\b|\bdomain translation\b|\bstyle[- ]transfer network\b|\bfacial attribute\b"),
    (C.GAME, 1.5, r"\b(?:generators? and|both the generator|each generator|generator network|generator learns?)\b|\bmulti-?(?:period|scale) (?:waveform )?discrim\w+|\bperceptual loss\b[^.;]{0,60}\bcontent loss\b"),
    (C.GAME, 1.2, r"\bstability of (?:the )?(?:learning|training)\b|\bmode dropping\b|\binception score\b(?=[^.]{0,80}\b(?:real|photo))|\bpyramid of\b|\bperceptual quality\b[^.;]{0,60}\bdegradation"),
    # --- diffusion and kin
    (C.ITERATE, 0.7, r"\btext[- ]to[- ](?:image|video|3d)\b|\bimage[- ]to[- ]video\b"),
    (C.ITERATE, 1.5, r"\bODE solvers?\b|\bneural network (?:passes|evaluations)\b|\b(?:network|forward) passes per sample\b|\bsampling strateg\w+|\bfewer sampling\b|\b(?:fast|accelerated) samplers?\b"),
    (C.ITERATE, 2.0, r"\b(?:transfer|transform|transport|turn|map)\w* (?:\w+ ){0,2}noise (?:in)?to\b|\bnoise to data\b|\bnoise-to-\w+|\bgradually transform\w*"),
    (C.DENOISE, 2.0, r"\bscore entropy\b|\bratios? of the data distribution\b|\bstochastic differential equations?\b|\bnoising\b|\bun-?noise\b|\bundo the (?:previous )?corruption\b"),
    (C.DENOISE, 1.5, r"\bdecoder (?:that )?(?:produc|generat)\w+ [^.;]{0,50}\bby gradually\b|\bcorrupt\w* (?:data|structures?|coordinates|atoms|residues)\b|\brandom(?:ly)? (?:noised|corrupted)\b"),
    (C.DENOISE, 1.5, r"\bequivariant\b[^.;]{0,60}\bdenois\w+|\b(?:atom types|coordinates)\b[^.;]{0,60}\b(?:refin|corrupt|denois)\w*"),
    (C.DISTILLED, 1.5, r"\bskip ahead in the generation\b|\bfew-step\b|\breduc\w+ the number of (?:sampling )?steps\b"),
    (C.ONE_STEP, 2, r"\bsingle[- ](?:shot|query|launch|U-?Net call)\b|\bone (?:U-?Net )?(?:shot|launch|query)\b|\b1[-–]2 NFE\b|\bfolded into one\b"),
    (C.DISCRETE, 2, r"\b(?:blank|blot|wip|mask|eras)\w*\b[^.;]{0,80}\b(?:all at once|all together|everywhere at once|surest|sweeps?|rounds?|restor\w+)\b|\bun-?blank\w*"),
    (C.SOLVES_ODE, 2, r"\bRK4\b|\bd[xz]/dt\b|\btime-continuous\b|\bcontinuity equation\b|\bexact (?:hessian )?traces?\b|\brun the solver back\w*"),
    # --- flow
    (
        C.CHANGE_OF_VARIABLES,
        1.4,
        r"\bexact (?:log-?)?likelihood\b|\bexact maximum likelihood\b|\bexact (?:density|sampling|inference)\b|\bnon-?volume[- ]preserving\b|\bJacobian\b|\bdequanti[sz]\w+|\bmaximi[sz]\w+ the likelihood of the (?:training )?data\b|\bdirectly trained with maximum likelihood\b",
    ),
    (C.CHANGE_OF_VARIABLES, 0.7, r"\bdensity (?:estimation|evaluation)\b|\brational-?quadratic\b|\blog-density\b|\btractable (?:likelihood|density|learning)\b|\bdensity model\w*"),
    # --- energy
    (C.ENERGY_CONTRAST, 2.0, r"\bvisible units?\b|\bdata-(?:dependent|independent) expectations?\b|\bproducts? of experts\b|\bun-?normali[sz]ed (?:values?|densit\w+|models?|log)"),
    (C.CHAIN, 2.0, r"\bpersistent (?:markov )?chains?\b|\bmarkov chains\b(?=[^.]{0,60}\b(?:estimat|approximat|negative))|\bmixing (?:time|chains?)\b|\bsynthesi[sz]ed examples\b"),
    # --- beyond the border
    (C.REGRESSION, 1.5, r"\bpredicts? (?:\w+ ){0,2}(?:protein )?structures?\b|\bprotein structure prediction\b|\bcamera rays?\b|\bvolume rendering\b|\boperational (?:deterministic )?systems?\b"),
    (C.FEATURES, 1.2, r"\brepresentations from\b|\bvector representations of\b|\bpre-?trained (?:models?|weights) for (?:downstream|transfer)|\bfine-?tuned? with just\b|\bbidirectional representations?\b"),
    (C.LABELS, 2.0, r"\b(?:piano|music|drum|polyphonic|note)\w* transcri\w+"),
    (C.LABELS, 1.5, r"\bset prediction\b|\bnon-maximum suppression\b|\bset of predictions\b|\btransfer learning for classif\w+|\bface (?:detection|verification)\b"),
    (C.REWARD, 1.5, r"\bpolicy gradients?\b|\bsurrogate objective\b|\boffline (?:deep )?reinforcement\b|\breinforcement learning (?:algorithms?|librar\w+|methods?)\b"),
    (C.FEATURES, 1.5, r"\bmutual[- ]information maximi[sz]\w+|\bmaximi[sz]\w+ (?:the )?mutual information\b"),
    (C.FEATURES, 1.2, r"\bpseudo-?labels?\b|\bunsupervised pre-?training\b"),
    (C.LABELS, 1.5, r"\b(?:error|accuracy) on (?:the )?ImageNet\b|\bILSVRC\b|\bclassification tasks?\b|\bImageNet[- ]1k\b|\btop-1\b|\bbackground removal\b|\balpha matte\b|\bsaliency\b"),
    (C.REGRESSION, 1.8, r"\bsuper-?resolution\b"),
    (C.REGRESSION, 1.2, r"(?<!stochastic )\bduration predict\w+|\bfeed-?forward (?:TTS|transformer)\b|\bpre-?computed durations?\b|\bpitch contours?\b|\bfundamental frequency\b|\brestoration quality\b"),
    (C.REGRESSION, 2.5, r"\bgaussian process(?:es)? (?:regression|classif\w+|models?)\b"),
    # --- says of itself that it makes examples
    (
        C.GENERATES,
        0.7,
        r"\bgenerative (?:model|framework|modell?ing|network)s? (?:for|of|that|capable|which|over)\b|\b(?:capable of|able to) (?:generat|synthesi[sz])\w+|\b(?:trained|designed) to (?:generate|synthesi[sz]e)\b",
    ),
)  # fmt: skip
