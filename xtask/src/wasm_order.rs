//! The order of the page's functions. Brotli finds a repetition more cheaply the nearer it is, and Rust's generics leave
//! thousands of functions that are nearly alike, so functions with the same beginning are put side by side and identical
//! ones become one: together about 3 % of the download (docs/performance.md).

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use wasm_encoder::{
    CodeSection, FunctionSection, Module,
    reencode::{Error, Reencode},
};
use wasmparser::{CodeSectionReader, FunctionBody, FunctionSectionReader, Parser, Payload, TypeRef};

/// The same module with its functions merged and ordered.
pub(crate) fn arrange(wasm: &[u8]) -> Result<Vec<u8>> {
    let functions = Functions::read(wasm)?;
    let mut module = Module::new();
    let mut arranged = functions.merge()?.order();
    arranged
        .parse_core_module(&mut module, Parser::new(0), wasm)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("the page's functions could not be put in order")?;
    Ok(module.finish())
}

/// What a module defines: of each function its type and its body.
struct Functions<'a> {
    imported: u32,
    types: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
}

/// Which functions are kept, in which order, and the index by which each old one is called.
struct Arranged {
    imported: u32,
    /// Positions of the kept ones among those that the module defined.
    kept: Vec<usize>,
    /// New indices of all defined functions; those of imported ones stay.
    index: Vec<u32>,
    /// Bodies as they are compared; empty once the order is known.
    bodies: Vec<Vec<u8>>,
}

impl<'a> Functions<'a> {
    fn read(wasm: &'a [u8]) -> Result<Self> {
        let mut functions = Self { imported: 0, types: Vec::new(), bodies: Vec::new() };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        functions.imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::FunctionSection(types) => {
                    functions.types = types.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::CodeSectionEntry(body) => functions.bodies.push(body),
                _ => {}
            }
        }
        ensure!(
            functions.types.len() == functions.bodies.len(),
            "the page's wasm has functions without code"
        );
        Ok(functions)
    }

    /// Lets identical functions share one index, until those that only call identical ones are identical, too.
    fn merge(&self) -> Result<Arranged> {
        let count = self.bodies.len();
        let mut arranged = Arranged {
            imported: self.imported,
            kept: (0..count).collect(),
            index: (self.imported..).take(count).collect(),
            bodies: Vec::new(),
        };
        loop {
            let mut first = HashMap::new();
            let mut bodies = Vec::with_capacity(count);
            for body in &self.bodies {
                bodies.push(arranged.body(body)?);
            }
            arranged.kept.clear();
            let mut merged = false;
            for (at, body) in bodies.iter().enumerate() {
                let one = *first.entry((self.types[at], body.clone())).or_insert(at);
                if one == at {
                    arranged.kept.push(at);
                }
                let index = self.imported + u32::try_from(one)?;
                merged |= std::mem::replace(&mut arranged.index[at], index) != index;
            }
            if !merged {
                arranged.bodies = bodies;
                return Ok(arranged);
            }
        }
    }
}

impl Arranged {
    fn order(mut self) -> Self {
        let bodies = std::mem::take(&mut self.bodies);
        self.kept.sort_by(|a, b| bodies[*a].cmp(&bodies[*b]));
        let mut place = vec![0; self.index.len()];
        for (new, old) in (self.imported..).zip(&self.kept) {
            place[*old] = new;
        }
        for index in &mut self.index {
            *index = place[(*index - self.imported) as usize];
        }
        self
    }

    /// A body with the new indices in it.
    fn body(&mut self, body: &FunctionBody<'_>) -> Result<Vec<u8>> {
        let read = |arranged: &mut Self| -> Result<Vec<u8>, Error> {
            let mut function = arranged.new_function_with_parsed_locals(body)?;
            let mut operators = body.get_operators_reader()?;
            while !operators.eof() {
                function.instruction(&arranged.parse_instruction(&mut operators)?);
            }
            Ok(function.into_raw_body())
        };
        read(self).map_err(|error| anyhow::anyhow!("{error}"))
    }
}

impl Reencode for Arranged {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error> {
        Ok(match index.checked_sub(self.imported) {
            Some(defined) => self.index[defined as usize],
            None => index,
        })
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        let types: Vec<u32> = section.into_iter().collect::<Result<_, _>>()?;
        for at in &self.kept {
            functions.function(types[*at]);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        let bodies: Vec<FunctionBody<'_>> = section.into_iter().collect::<Result<_, _>>()?;
        for at in self.kept.clone() {
            self.parse_function_body(code, bodies[at].clone())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        EntityType, ExportKind, ExportSection, Function, ImportSection, TypeSection, ValType,
    };

    use super::*;

    /// `imported`; two pairs of equal functions, where those of the second call those of the first; `main`, exported.
    fn module() -> Vec<u8> {
        let mut types = TypeSection::new();
        types.ty().function([], [ValType::I32]);
        let mut imports = ImportSection::new();
        imports.import("page", "imported", EntityType::Function(0));
        let mut functions = FunctionSection::new();
        let mut code = CodeSection::new();
        let mut define = |fill: &dyn Fn(&mut Function)| {
            functions.function(0);
            let mut function = Function::new([]);
            fill(&mut function);
            function.instructions().end();
            code.function(&function);
        };
        define(&|f| {
            f.instructions().call(3).call(4).i32_add().call(0).i32_add();
        });
        for _ in 0..2 {
            define(&|f| {
                f.instructions().i32_const(7);
            });
        }
        for callee in [2, 3] {
            define(&move |f| {
                f.instructions().call(callee).i32_const(1).i32_add();
            });
        }
        let mut exports = ExportSection::new();
        exports.export("main", ExportKind::Func, 1);
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&exports).section(&code);
        module.finish()
    }

    #[test]
    fn equal_functions_become_one_and_calls_follow() {
        let arranged = arrange(&module()).expect("a valid module");
        let functions = Functions::read(&arranged).expect("a valid module");
        let text: Vec<String> = functions
            .bodies
            .iter()
            .map(|body| {
                let operators = body.get_operators_reader().expect("operators").into_iter();
                operators.map(|operator| format!("{:?} ", operator.expect("an operator"))).collect()
            })
            .collect();
        assert_eq!(
            text,
            [
                "Call { function_index: 3 } Call { function_index: 2 } I32Add Call { function_index: 0 } I32Add End ",
                "Call { function_index: 3 } I32Const { value: 1 } I32Add End ",
                "I32Const { value: 7 } End ",
            ]
        );
        let exported = Parser::new(0).parse_all(&arranged).find_map(|payload| match payload {
            Ok(Payload::ExportSection(exports)) => exports.into_iter().next(),
            _ => None,
        });
        assert_eq!(exported.expect("an export").expect("readable").index, 1);
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        arrange(b"not wasm").expect_err("refused");
    }
}
