// Written by `python -m tools.webwords` from the servers' own code: do not edit.

/** Number of a class's permission: DUO's number, meaning. */
export const PERMISSIONS = {
  "1": [4, "any use, without restriction"],
  "2": [42, "any research"],
  "3": [6, "health, medical or biomedical research; no general and no ancestry research"],
  "4": [7, "research on {disease}, and on its kinds, alone"],
  "5": [11, "research into population origins or ancestry alone"],
};

/** Bit of a class's modifiers: DUO's number, meaning. */
export const MODIFIERS = {
  "0": [12, "only {types}"],
  "1": [15, "no general methods research"],
  "2": [16, "genetic studies only"],
  "3": [18, "only by non-profit organisations or public bodies, and not for commercial ends"],
  "4": [45, "only by non-profit organisations or public bodies"],
  "5": [46, "not for commercial ends"],
  "6": [44, "no research into population origins or ancestry"],
  "7": [22, "only by researchers in {countries}"],
  "8": [25, "use ends within {months} months"],
  "9": [26, "only by users that the class lists"],
  "10": [27, "only for projects that the class lists"],
  "11": [28, "only by institutions that the class lists"],
  "12": [21, "only with an approval by an ethics committee"],
  "13": [20, "researchers have to collaborate with the study's own investigators"],
  "14": [19, "researchers have to publish what they find"],
  "15": [24, "researchers have to hold publication back until a date"],
  "16": [29, "researchers have to return what they derive"],
  "17": [43, "clinical care is allowed as well"],
};

/** Bit of a purpose's uses and a class's research types. */
export const USES = {
  "0": "method development",
  "1": "population research",
  "2": "population origins or ancestry research",
  "3": "age category research",
  "4": "gender category research",
  "5": "research control",
  "6": "biomedical research",
  "7": "genetic research",
  "8": "drug development research",
  "9": "disease category research",
};

/** Bit of the duties that a purpose accepts. */
export const DUTIES = {
  "13": "to collaborate with the study's own investigators",
  "14": "to publish",
  "15": "to hold publication back until a date",
  "16": "to return derived data",
};

/** Bit of a class's release kinds. */
export const RELEASES = {
  "0": "numbers",
  "1": "tables",
  "2": "personal scores",
};

/** Number of a credential's kind. */
export const ORGANISATIONS = {
  "1": "a non-profit organisation",
  "2": "a public body",
  "3": "a commercial organisation",
};

/** Bit of why a purpose is not permitted. */
export const REASONS = {
  "0": "research type not listed (RS)",
  "1": "methods development excluded (NMDS)",
  "2": "genetic studies only (GSO)",
  "3": "non-profit and non-commercial only (NPUNCU)",
  "4": "non-profit organisations only (NPU)",
  "5": "non-commercial use only (NCU)",
  "6": "ancestry research excluded (NPOA)",
  "7": "country not listed (GS)",
  "8": "use must end sooner (TS)",
  "9": "user not listed (US)",
  "10": "project not listed (PS)",
  "11": "institution not listed (IS)",
  "12": "ethics approval required (IRB)",
  "13": "duty to collaborate not accepted (COL)",
  "14": "duty to publish not accepted (PUB)",
  "15": "publication moratorium not accepted (MOR)",
  "16": "duty to return data not accepted (RTN)",
  "32": "the class has no known permission",
  "33": "the class has an unknown modifier",
  "34": "the purpose names an unknown use",
  "35": "the purpose names an unknown duty",
  "36": "the credential names no known kind of organisation",
  "37": "biomedical research only (HMB)",
  "38": "disease not covered (DS)",
  "39": "ancestry research only (POA)",
  "40": "clinical care not permitted",
};
