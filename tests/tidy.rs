//! House rules that a program can check.
//!
//! * Every citation of the specification, such as `(batch §8.1)` or `evm Q6`, leads to a section of `docs/spec`.
//! * Every relative link of a Markdown file leads to a file, every `#anchor` to a heading.
//! * No source file is longer than a reader can hold in mind.
//! * Code asks the fork table for a rule; it never compares fork numbers.
//! * Tests say that they are skipped in one way only.
//!
//! The tree is read as text. Each test lists all its offences, as `file:line: what`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders with text of ours.
const FOLDERS: &[&str] = &["src", "crates", "tests", "benches", "examples", "fuzz", "docs", "proto", "config"];
/// Folder of the specification: one page a file, cited by the file's name.
const SPECIFICATION: &str = "docs/spec/";
/// Fewer citations than this outside the specification mean that the scanner is broken, not that the code cites little.
const CITATIONS_MIN: usize = 200;
/// Longest source file, in lines.
const SOURCE_LINES_MAX: usize = 700;
/// Name of the file that holds the fork table.
const FORK_TABLE: &str = "fork.rs";
/// The helper through which tests say that they are skipped.
const SKIP_HELPER: &str = "crates/testkit/src/skip.rs";

#[test]
fn every_citation_leads_to_a_section() {
    let pages = Pages::read();
    let mut offences = Vec::new();
    let mut cited_by_code = 0;
    for file in files(&["rs", "md", "proto", "toml", "mjs"]) {
        for citation in citations(&file, &pages) {
            cited_by_code += usize::from(!file.path.starts_with(SPECIFICATION));
            if let Err(why) = pages.resolve(&citation) {
                offences.push(file.offence(citation.line, format!("{citation}: {why}")));
            }
        }
    }
    report(&offences);
    assert!(cited_by_code >= CITATIONS_MIN, "found only {cited_by_code} citations: does the scanner still work?");
}

#[test]
fn every_relative_link_leads_somewhere() {
    let markdown = files(&["md"]);
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        markdown.iter().map(|file| (file.path.as_str(), anchors(&file.text))).collect();
    let mut offences = Vec::new();
    for file in &markdown {
        for (line, link) in links(&file.text) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.path.clone() } else { beside(&file.path, path) };
            let known = anchors.get(target.as_str());
            if !root().join(&target).exists() {
                offences.push(file.offence(line, format!("{link}: no such file")));
            } else if !anchor.is_empty() && known.is_some_and(|known| !known.contains(anchor)) {
                offences.push(file.offence(line, format!("{link}: no such heading")));
            }
        }
    }
    report(&offences);
}

#[test]
fn no_source_file_is_too_long() {
    let mut offences = Vec::new();
    for file in files(&["rs"]).iter().filter(|file| file.is_source()) {
        let lines = file.text.lines().count();
        if lines > SOURCE_LINES_MAX {
            offences.push(file.offence(lines, format!("{lines} lines, at most {SOURCE_LINES_MAX}")));
        }
    }
    report(&offences);
}

#[test]
fn only_the_fork_table_compares_fork_numbers() {
    let mut offences = Vec::new();
    for file in files(&["rs"]).iter().filter(|file| file.is_source() && !file.is_named(FORK_TABLE) && !file.is_test()) {
        for (number, line) in production_lines(&file.text) {
            if compares_fork_number(line) {
                offences.push(file.offence(number, format!("{}: ask the fork table for a rule", line.trim())));
            }
        }
    }
    report(&offences);
}

#[test]
fn tests_are_skipped_through_the_shared_helper() {
    let mut offences = Vec::new();
    for file in files(&["rs"]).iter().filter(|file| file.is_test()) {
        // This file names the pattern itself.
        if [SKIP_HELPER, "tests/tidy.rs"].contains(&file.path.as_str()) {
            continue;
        }
        for printer in ["eprintln!", "stderr()"] {
            for (at, _) in file.text.match_indices(printer) {
                let statement = file.text[at..].split(';').next().unwrap_or_default();
                if statement.to_lowercase().contains("skip") {
                    offences.push(file.offence(
                        line_at(&file.text, at),
                        "says by itself that it skips: the shared helper does".to_owned(),
                    ));
                }
            }
        }
    }
    report(&offences);
}

// ---------------------------------------------------------------------------------------------------------- the tree

/// A text file of the tree.
struct SourceFile {
    /// Path from the root, with slashes.
    path: String,
    text: String,
}

impl SourceFile {
    /// True for code of the program, its unit tests included.
    fn is_source(&self) -> bool {
        self.path.starts_with("src/") || self.path.starts_with("crates/") && self.path.contains("/src/")
    }

    /// True for tests in files of their own.
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.is_named("tests.rs")
    }

    fn is_named(&self, name: &str) -> bool {
        self.path.rsplit('/').next() == Some(name)
    }

    /// Name of the page if this is one of the specification.
    fn page(&self) -> Option<&str> {
        self.path.strip_prefix(SPECIFICATION)?.strip_suffix(".md")
    }

    fn offence(&self, line: usize, what: String) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the files of the tree with one of these extensions, in order of their paths.
fn files(extensions: &[&str]) -> Vec<SourceFile> {
    let mut paths = Vec::new();
    collect(root(), &mut paths, false);
    for folder in FOLDERS {
        collect(&root().join(folder), &mut paths, true);
    }
    paths.retain(|path| path.extension().is_some_and(|own| extensions.iter().any(|wanted| own == *wanted)));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.strip_prefix(root()).expect("a path below the root").to_string_lossy().replace('\\', "/");
        SourceFile { path, text }
    };
    paths.into_iter().map(read).collect()
}

/// Adds the files of a folder that exists, and those below it if `deep`.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>, deep: bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_file() {
            paths.push(path);
        } else if deep && name != "target" && name != "node_modules" && !name.to_string_lossy().starts_with('.') {
            collect(&path, paths, deep);
        }
    }
}

/// Returns the line of a place in a text, from 1.
fn line_at(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Fails with all offences, if there are any.
fn report(offences: &[String]) {
    assert!(offences.is_empty(), "{} places:\n{}\n", offences.len(), offences.join("\n"));
}

// --------------------------------------------------------------------------------------------- pages and their sections

/// What the pages of the specification have that can be cited.
struct Pages(BTreeMap<String, BTreeSet<Target>>);

/// A place in a page.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// A heading's number: `8.1`.
    Section(String),
    /// A row of a register: `Q6`.
    Question(String),
    /// A heading's letter: `A`.
    Appendix(char),
}

impl Pages {
    fn read() -> Self {
        let pages = files(&["md"]).into_iter().filter_map(|file| Some((file.page()?.to_owned(), targets(&file.text))));
        Self(pages.collect())
    }

    fn is_page(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// True if questions are numbered there.
    fn has_register(&self, owner: &Owner) -> bool {
        let Owner::Page(page) = owner else { return false };
        self.0.get(page).is_some_and(|targets| targets.iter().any(|target| matches!(target, Target::Question(_))))
    }

    fn resolve(&self, citation: &Citation) -> Result<(), &'static str> {
        let Owner::Page(page) = &citation.owner else { return Err("names no page") };
        let targets = self.0.get(page).ok_or("no such page")?;
        if targets.contains(&citation.target) { Ok(()) } else { Err("no such section") }
    }
}

/// Returns what a page has: numbered headings, `## 8. Title` or `### 8.1 Title`; appendices; rows `| Q6 | …`.
fn targets(page: &str) -> BTreeSet<Target> {
    let mut targets = BTreeSet::new();
    for (_, heading) in headings(page) {
        let number = number_at(heading);
        if !number.is_empty() {
            targets.insert(Target::Section(number.to_owned()));
        }
        if let Some(letter) = heading.strip_prefix("Appendix ").and_then(|rest| rest.chars().next()) {
            targets.insert(Target::Appendix(letter));
        }
    }
    for row in page.lines().filter_map(|line| line.strip_prefix("| Q")) {
        let digits = row.split(' ').next().unwrap_or_default();
        if digits.parse::<u32>().is_ok() {
            targets.insert(Target::Question(digits.to_owned()));
        }
    }
    targets
}

/// Returns the number a text begins with, such as `8.1`, without a dot at its end.
fn number_at(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

// ------------------------------------------------------------------------------------------------------------ citations

/// A citation as it stands in a text.
struct Citation {
    line: usize,
    owner: Owner,
    target: Target,
}

/// What a cited section belongs to.
#[derive(Clone)]
enum Owner {
    /// A page of the specification.
    Page(String),
    /// A document of others, such as an RFC.
    Foreign,
    /// The text does not say.
    Unnamed,
}

impl fmt::Display for Citation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Owner::Page(name) => f.write_str(name)?,
            Owner::Foreign | Owner::Unnamed => f.write_str("?")?,
        }
        match &self.target {
            Target::Section(number) => write!(f, " §{number}"),
            Target::Question(number) => write!(f, " Q{number}"),
            Target::Appendix(letter) => write!(f, " appendix {letter}"),
        }
    }
}

/// Words that may stand between the sections of one citation, as in `executor-service §4.1 rows 5, 6; §4.2 row 7`.
const BETWEEN: &[&str] = &["and", "to", "or", "row", "rows", "step", "steps", "guarantee", "no", "with"];

/// Returns the citations of a file in order.
///
/// A section belongs to the page whose name stands right before it, or before the sections it is enumerated with, or to
/// which it is a link. Else it belongs to the page it stands in or, outside the specification, to the page the file has
/// named last. Sections of an RFC are none of ours.
fn citations(file: &SourceFile, pages: &Pages) -> Vec<Citation> {
    let (text, line_starts) = without_comment_marks(&file.text);
    let mut citations = Vec::new();
    // Owner and end of the citation before.
    let mut previous: Option<(Owner, usize)> = None;
    let own_page = file.page().map(|page| Owner::Page(page.to_owned()));
    let mut latest = own_page.clone().unwrap_or(Owner::Unnamed);
    for (start, end, targets) in targets_in(&text) {
        let continued = previous.as_ref().filter(|(_, end)| is_between(&text[*end..start]));
        let named = owner_named(&text, start, end, pages).or_else(|| continued.map(|(owner, _)| owner.clone()));
        let is_certain = named.is_some();
        let owner = named.unwrap_or_else(|| latest.clone());
        previous = Some((owner.clone(), end));
        if matches!(owner, Owner::Foreign) {
            continue;
        }
        if own_page.is_none() {
            latest = owner.clone();
        }
        // Other things are called Q1 too.
        let is_meant = |target: &Target| {
            matches!(target, Target::Section(_)) || is_certain || own_page.is_some() && pages.has_register(&owner)
        };
        let line = line_starts.partition_point(|&line_start| line_start <= start);
        let cited = targets.into_iter().filter(is_meant);
        citations.extend(cited.map(|target| Citation { line, owner: owner.clone(), target }));
    }
    citations
}

/// Returns the owner that is named right before or around the text between `start` and `end`.
fn owner_named(text: &str, start: usize, end: usize, pages: &Pages) -> Option<Owner> {
    if follows_rfc(&text[..start]) {
        return Some(Owner::Foreign);
    }
    let names = [Some(name_before(&text[..start])), link_around(&text[end..])];
    let page = names.into_iter().flatten().find(|name| pages.is_page(name))?;
    Some(Owner::Page(page.to_owned()))
}

/// Returns a text in one line, comment marks taken out, and where each of its lines starts there.
fn without_comment_marks(text: &str) -> (String, Vec<usize>) {
    let (mut joined, mut line_starts) = (String::new(), Vec::new());
    for line in text.lines() {
        line_starts.push(joined.len());
        let line = line.trim_start();
        let marks = ["///", "//!", "//", "#"];
        joined.push_str(marks.iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line));
        joined.push(' ');
    }
    (joined, line_starts)
}

/// Returns start, end and targets of everything in a text that looks like a citation: of `batch §8.1`, `§5–§7`, `§§8–11`,
/// `evm Q6` and `evm appendix A` what stands behind the name. A range has its ends as targets.
fn targets_in(text: &str) -> Vec<(usize, usize, Vec<Target>)> {
    let mut found = Vec::new();
    let section = |number: &str| Target::Section(number.to_owned());
    for (start, _) in text.match_indices('§') {
        let after = start + '§'.len_utf8();
        let number = number_at(&text[after..]);
        if number.is_empty() || text[..start].ends_with('–') {
            continue;
        }
        let mut targets = vec![section(number)];
        let mut end = after + number.len();
        if let Some(rest) = text[end..].strip_prefix('–') {
            let last = number_at(rest.trim_start_matches('§'));
            if !last.is_empty() {
                targets.push(section(last));
                end = text.len() - rest.trim_start_matches('§').len() + last.len();
            }
        }
        // Of two signs the first is the start.
        let start = if text[..start].ends_with('§') { start - '§'.len_utf8() } else { start };
        found.push((start, end, targets));
    }
    for (start, _) in text.match_indices('Q') {
        let number = number_at(&text[start + 1..]);
        let stands_alone = !text[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if !number.is_empty() && stands_alone {
            found.push((start, start + 1 + number.len(), vec![Target::Question(number.to_owned())]));
        }
    }
    for (start, word) in text.match_indices("appendix ") {
        let letter = text[start + word.len()..].chars().next().filter(char::is_ascii_uppercase);
        found.extend(letter.map(|letter| (start, start + word.len() + 1, vec![Target::Appendix(letter)])));
    }
    found.sort_by_key(|&(start, ..)| start);
    found
}

/// Returns the name a text ends with: `batch` of `see (batch `, and of ``[`batch`](batch.md) ``.
fn name_before(text: &str) -> &str {
    let text = text.trim_end_matches([' ', ')', '`']).trim_end_matches(".md");
    text.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default()
}

/// Returns the name of the file that a link leads to whose words end here: `batch` of `](spec/batch.md)`.
fn link_around(text: &str) -> Option<&str> {
    let (path, _) = text.strip_prefix("](")?.split_once(')')?;
    path.rsplit('/').next()?.strip_suffix(".md")
}

/// True if a text ends with the number of an RFC.
fn follows_rfc(text: &str) -> bool {
    text.trim_end_matches([' ', ',']).trim_end_matches(|c: char| c.is_ascii_digit()).ends_with("RFC ")
}

/// True if two sections with this text between them are enumerated.
fn is_between(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '(' && c != ')');
    words.filter(|word| !word.is_empty()).all(|word| BETWEEN.contains(&word) || word.parse::<u32>().is_ok())
}

// ------------------------------------------------------------------------------------------------------------- Markdown

/// Returns the lines of a Markdown text outside fenced code, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((index + 1, line))
    })
}

/// Returns the headings of a Markdown text without their marks.
fn headings(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(number, line)| (number, line.trim_start_matches('#').trim()))
}

/// Returns the anchors that GitHub makes of the headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, heading) in headings(text) {
        let kept = heading.to_lowercase().replace(' ', "-");
        let anchor: String = kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect();
        let mut unique = anchor.clone();
        for copy in 1.. {
            if anchors.insert(unique.clone()) {
                break;
            }
            unique.clear();
            write!(unique, "{anchor}-{copy}").expect("a string can be written to");
        }
    }
    anchors
}

/// Returns the relative links of a Markdown text, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        // Odd pieces between backticks are code.
        for piece in line.split('`').step_by(2) {
            let targets = piece.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
            links.extend(targets.filter(|target| !target.contains(':')).map(|target| (number, target)));
        }
    }
    links
}

/// Returns a path that is written relative to a file's folder, from the root.
fn beside(file: &str, path: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

// ----------------------------------------------------------------------------------------------------------------- code

/// Returns the numbered lines of a file before its unit tests, without comments.
fn production_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().enumerate().map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
}

/// True if a line holds a fork against a number: `fork_id >= 7`, `7 <= input.fork_id.get()`, `matches!(fork, 7..=9)`.
fn compares_fork_number(line: &str) -> bool {
    let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let operators = [" >= ", " <= ", " == ", " != ", " > ", " < "];
    let compared = operators.iter().flat_map(|operator| line.match_indices(operator)).any(|(at, operator)| {
        let part_of_path = |c: char| c.is_alphanumeric() || "_.()".contains(c);
        let left = line[..at].rsplit(|c| !part_of_path(c)).next().unwrap_or_default();
        let right = line[at + operator.len()..].split(|c| !part_of_path(c)).next().unwrap_or_default();
        is_fork(left) && is_number(right) || is_number(left) && is_fork(right)
    });
    let matched = line.split("matches!(").skip(1).filter_map(|rest| rest.split_once(", "));
    compared || matched.into_iter().any(|(value, pattern)| is_fork(value) && is_number(pattern))
}

/// True if a path of fields and calls names a fork.
fn is_fork(path: &str) -> bool {
    let parts = path.split('.').map(|part| part.trim_matches(['(', ')', '&', '*']));
    parts
        .into_iter()
        .any(|part| part == "fork" || part == "fork_id" || part.ends_with("_fork") || part.ends_with("_fork_id"))
}

#[test]
fn the_scanner_reads_citations_as_people_do() {
    let read = |path: &str, text: &str| {
        let names = ["batch", "evm", "executor-service", "state-tree"];
        let register = BTreeSet::from([Target::Question("7".to_owned())]);
        let pages = Pages(names.map(|page| (page.to_owned(), register.clone())).into());
        let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
        let cited: Vec<String> = citations(&file, &pages).iter().map(Citation::to_string).collect();
        cited.join("; ")
    };
    let code = |text| read("src/a.rs", text);
    assert_eq!(code("/// Root (batch §8.1)."), "batch §8.1");
    assert_eq!(code("// (batch §3, §3.1 and §10; evm §6.3, Q4)"), "batch §3; batch §3.1; batch §10; evm §6.3; evm Q4");
    assert_eq!(
        code("//! (executor-service §4.1 rows 5, 6; §4.2 row 7,\n//! §5–§7)"),
        "executor-service §4.1; executor-service §4.2; executor-service §5; executor-service §7",
    );
    assert_eq!(code("/// Keys (state-tree §5), and values (§4)."), "state-tree §5; state-tree §4");
    assert_eq!(code("// evm appendix A, batch §3"), "evm appendix A; batch §3");
    assert_eq!(code("// RFC 9113 §3.4, §5, RFC 8949, appendix A; let Q1 = 7;"), "");
    assert_eq!(code("// §3"), "? §3");
    assert_eq!(read("docs/a.md", "[evm](spec/evm.md) §11.4, [its §5](spec/evm.md)"), "evm §11.4; evm §5");
    assert_eq!(
        read("docs/spec/evm.md", "§§8–11, Q7; batch §5 (step 1). See §6."),
        "evm §8; evm §11; evm Q7; batch §5; evm §6"
    );
}

#[test]
fn fork_comparisons_are_found() {
    for line in ["if fork_id >= 7 {", "a && 8 <= input.fork_id.get()", "fork.0 == 9,", "matches!(input.fork_id, 7..=9)"]
    {
        assert!(compares_fork_number(line), "{line}");
    }
    for line in ["forks.len() > 1", "rules.id == fork_id", "fork_count < 3", "ForkId::new(7)"] {
        assert!(!compares_fork_number(line), "{line}");
    }
}
