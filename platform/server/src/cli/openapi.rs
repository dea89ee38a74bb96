use std::process::ExitCode;

use super::failure::Failure;
use super::{Global, output};

/// JSON with or without `--json`: the document has no other form.
pub(super) fn run(_: &Global) -> Result<ExitCode, Failure> {
    output::line(&crate::http::openapi_json())?;
    Ok(ExitCode::SUCCESS)
}
