//! The crate hf-hub against a running server: `hf-hub-client http://127.0.0.1:3000 REPOSITORY REVISION…` prints, for each
//! revision, its commit and the files that it downloaded, by spaces.

use std::{env, error::Error, fs};

use hf_hub::{Repo, RepoType, api::sync::ApiBuilder};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(server), Some(repository)) = (arguments.next(), arguments.next()) else {
        return Err("a server, a repository and revisions are needed".into());
    };
    let cache = tempfile::tempdir()?;
    let api = ApiBuilder::new()
        .with_endpoint(server)
        .with_cache_dir(cache.path().to_owned())
        .with_progress(false)
        .build()?;
    for revision in arguments {
        let repo = api.repo(Repo::with_revision(repository.clone(), RepoType::Model, revision));
        let info = repo.info()?;
        print!("{}", info.sha);
        for file in info.siblings {
            let path = repo.get(&file.rfilename)?;
            // …/snapshots/COMMIT/FILE
            let folder = path.parent().and_then(|folder| folder.file_name());
            if folder.is_none_or(|folder| folder != info.sha.as_str()) {
                return Err(format!("{} is not of commit {}", path.display(), info.sha).into());
            }
            print!(" {}:{}", file.rfilename, fs::metadata(path)?.len());
        }
        println!();
    }
    Ok(())
}
