"""`cite`: the papers behind a computation, as BibTeX."""

from typing import Any

from replicax.theory.ansatz import RS, Ansatz

#: key -> (type, fields); keys as in the `sources` of models and ansätze
PAPERS: dict[str, dict[str, str]] = {
    "gardner1988": dict(
        title="Optimal storage properties of neural network models",
        author="Gardner, E. and Derrida, B.",
        journal="Journal of Physics A: Mathematical and General",
        volume="21",
        pages="271--284",
        year="1988",
    ),
    "krauth1989": dict(
        title="Storage capacity of memory networks with binary couplings",
        author="Krauth, Werner and M{\\'e}zard, Marc",
        journal="Journal de Physique",
        volume="50",
        pages="3057--3066",
        year="1989",
    ),
    "aubin2019": dict(
        title="Storage capacity in symmetric binary perceptrons",
        author="Aubin, Benjamin and Perkins, Will and Zdeborov{\\'a}, Lenka",
        journal="Journal of Physics A: Mathematical and Theoretical",
        volume="52",
        pages="294003",
        year="2019",
        eprint="1901.00314",
    ),
    "franz2016": dict(
        title="The simplest model of jamming",
        author="Franz, Silvio and Parisi, Giorgio",
        journal="Journal of Physics A: Mathematical and Theoretical",
        volume="49",
        pages="145001",
        year="2016",
        eprint="1501.03397",
    ),
    "franz2017": dict(
        title="Universality of the {SAT-UNSAT} (jamming) threshold in non-convex continuous constraint satisfaction problems",
        author="Franz, Silvio and Parisi, Giorgio and Sevelev, Maxim and Urbani, Pierfrancesco and Zamponi, Francesco",
        journal="SciPost Physics",
        volume="2",
        pages="019",
        year="2017",
        eprint="1702.06919",
    ),
    "tanaka1980": dict(
        title="Analytic theory of the ground state properties of a spin glass. {I}. {Ising} spin glass",
        author="Tanaka, F. and Edwards, S. F.",
        journal="Journal of Physics F: Metal Physics",
        volume="10",
        pages="2769--2778",
        year="1980",
    ),
    "sompolinsky1988": dict(
        title="Chaos in random neural networks",
        author="Sompolinsky, H. and Crisanti, A. and Sommers, H. J.",
        journal="Physical Review Letters",
        volume="61",
        pages="259--262",
        year="1988",
    ),
    "stern2014": dict(
        title="Dynamics of random neural networks with bistable units",
        author="Stern, M. and Sompolinsky, H. and Abbott, L. F.",
        journal="Physical Review E",
        volume="90",
        pages="062710",
        year="2014",
        eprint="1409.2535",
    ),
    "gutfreund1988": dict(
        title="The nature of attractors in an asymmetric spin glass with deterministic dynamics",
        author="Gutfreund, H. and Reger, J. D. and Young, A. P.",
        journal="Journal of Physics A: Mathematical and General",
        volume="21",
        pages="2775--2797",
        year="1988",
    ),
    "badalotti2025": dict(
        author="Badalotti and Baldassi and M{\\'e}zard and Scardecchia and Zecchina",
        year="2025",
        eprint="2509.05041",
    ),
    "huang2014": dict(
        title="Origin of the computational hardness for learning with binary synapses",
        author="Huang, Haiping and Kabashima, Yoshiyuki",
        journal="Physical Review E",
        volume="90",
        pages="052813",
        year="2014",
        eprint="1408.1784",
    ),
    "annesi2023": dict(
        title="Star-shaped space of solutions of the spherical negative perceptron",
        author="Annesi, Brandon Livio and Lauditi, Clarissa and Lucibello, Carlo and Malatesta, Enrico M. and Perugini, Gabriele and "
        "Pittorino, Fabrizio and Saglietti, Luca",
        journal="Physical Review Letters",
        volume="131",
        pages="227301",
        year="2023",
        eprint="2305.10623",
    ),
    "baldassi2021": dict(
        title="Unveiling the structure of wide flat minima in neural networks",
        author="Baldassi, Carlo and Lauditi, Clarissa and Malatesta, Enrico M. and Perugini, Gabriele and Zecchina, Riccardo",
        journal="Physical Review Letters",
        volume="127",
        pages="278301",
        year="2021",
        eprint="2107.01163",
    ),
    "baldassi2015": dict(
        title="Subdominant dense clusters allow for simple learning and high computational performance in neural networks "
        "with discrete synapses",
        author="Baldassi, Carlo and Ingrosso, Alessandro and Lucibello, Carlo and Saglietti, Luca and Zecchina, Riccardo",
        journal="Physical Review Letters",
        volume="115",
        pages="128101",
        year="2015",
        eprint="1509.05753",
    ),
    "monasson1995": dict(
        title="Structural glass transition and the entropy of the metastable states",
        author="Monasson, R{\\'e}mi",
        journal="Physical Review Letters",
        volume="75",
        pages="2847--2850",
        year="1995",
    ),
    "gerace2020": dict(
        title="Generalisation error in learning with random features and the hidden manifold model",
        author="Gerace, Federica and Loureiro, Bruno and Krzakala, Florent and M{\\'e}zard, Marc and Zdeborov{\\'a}, Lenka",
        journal="Proceedings of Machine Learning Research",
        volume="119",
        pages="3452--3462",
        year="2020",
        eprint="2002.09339",
    ),
    "loureiro2021": dict(
        title="Learning curves of generic features maps for realistic datasets with a teacher-student model",
        author="Loureiro, Bruno and Gerbelot, C{\\'e}dric and Cui, Hugo and Goldt, Sebastian and "
        "Krzakala, Florent and M{\\'e}zard, Marc and Zdeborov{\\'a}, Lenka",
        journal="Advances in Neural Information Processing Systems",
        year="2021",
        eprint="2102.08127",
    ),
    "dhifallah2020": dict(
        title="A precise performance analysis of learning with random features",
        author="Dhifallah, Oussama and Lu, Yue M.",
        year="2020",
        eprint="2008.11904",
    ),
    "goldt2022": dict(
        title="The {G}aussian equivalence of generative models for learning with shallow neural networks",
        author="Goldt, Sebastian and Loureiro, Bruno and Reeves, Galen and Krzakala, Florent and M{\\'e}zard, Marc "
        "and Zdeborov{\\'a}, Lenka",
        journal="Proceedings of Machine Learning Research",
        volume="145",
        pages="426--471",
        year="2022",
        eprint="2006.14709",
    ),
    "baldassi2022": dict(
        title="Learning through atypical phase transitions in overparameterized neural networks",
        author="Baldassi, Carlo and Lauditi, Clarissa and Malatesta, Enrico M. and Pacelli, Rosalba and Perugini, Gabriele "
        "and Zecchina, Riccardo",
        journal="Physical Review E",
        volume="106",
        pages="014116",
        year="2022",
        eprint="2110.00683",
    ),
}


def cite(model: Any, ansatz: Ansatz | type[Ansatz] | None = None) -> str:
    """BibTeX of the papers behind this very computation: those of the model (object or class), then those of the ansatz.

    Raises ValueError for a model of one's own, which has no `sources`.
    """
    ansatz = RS if ansatz is None else ansatz
    keys = dict.fromkeys((*getattr(model, "sources", ()), *ansatz.sources))
    if not keys:
        raise ValueError(f"{model!r} names no sources; give its class a tuple `sources` of keys of PAPERS")
    return "\n\n".join(bibtex(key) for key in keys)


def bibtex(key: str) -> str:
    """One entry; a paper with an arXiv number only is @misc."""
    fields = dict(PAPERS[key])
    if "eprint" in fields:
        fields["archiveprefix"] = "arXiv"
    kind = "article" if "journal" in fields else "misc"
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}"
