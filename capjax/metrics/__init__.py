"""Measures of captions: on ids, on the device, and the benchmarks' own scores, on text."""

from capjax.metrics.bleu import bleu, corpus_bleu
from capjax.metrics.cider import PackedReferences, cider_d, pack_references
from capjax.metrics.diversity import consensus, diversity, novel, self_cider_kernel
from capjax.metrics.ids import encode
from capjax.metrics.ngrams import NgramTable, ngram_table
from capjax.metrics.official import score_captions
from capjax.metrics.paragraphs import between_sentences, repeated_trigrams
from capjax.metrics.retrieval import recall, retrieval_ranks, retrieve
from capjax.metrics.rouge import rouge_l
from capjax.metrics.self_retrieval import pairwise_log_probs

__all__ = [
    "NgramTable",
    "PackedReferences",
    "between_sentences",
    "bleu",
    "cider_d",
    "consensus",
    "corpus_bleu",
    "diversity",
    "encode",
    "ngram_table",
    "novel",
    "pack_references",
    "pairwise_log_probs",
    "recall",
    "repeated_trigrams",
    "retrieval_ranks",
    "retrieve",
    "rouge_l",
    "score_captions",
    "self_cider_kernel",
]
