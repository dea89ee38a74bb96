use std::io::Write as _;

use serde::Serialize;

use super::failure::Failure;

/// Results, on standard output: for people, or as JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints the one or the other. `people` ends without a newline.
    pub(super) fn print(self, machines: &impl Serialize, people: impl FnOnce() -> String) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string(machines)
                .map_err(|error| Failure::caused("the result cannot be written as JSON", error))?
        } else {
            people()
        };
        line(&text)
    }
}

/// Prints one line, or several.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush());
    match written {
        // `wotp … | head` has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::caused("standard output cannot be written to", error)),
        Ok(()) => Ok(()),
    }
}

/// Columns as wide as their widest cell, two spaces apart.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let format = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![format(&mut header.iter().copied())];
    lines.extend(rows.iter().map(|row| format(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let rows = [vec!["1".to_owned(), "é".to_owned()], vec!["100".to_owned(), String::new()]];
        assert_eq!(table(&["id", "name"], &rows), "id   name\n1    é\n100");
    }
}
