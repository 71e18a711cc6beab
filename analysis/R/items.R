# A mixed model of items, by lme4.
#
#   Rscript items.R DATA.csv OUT.json (binomial|gaussian) TERMS [RANDOM]
#
# DATA.csv has the columns fit (one number a data set), value, w, w2, half and the groups base, run, cell, item, pair, benchmark, bb,
# cb and cluster, as numbers. TERMS are the fixed ones beside the intercept, those of the curve (w and w2) and half, with blanks between
# them; RANDOM is the random part of the formula. OUT.json gets one object per data set: coefficients with their covariance,
# the likelihood ratio of the curve's terms, variances, and every message of the fit.
suppressPackageStartupMessages({
  library(lme4)
  library(jsonlite)
})

arguments <- commandArgs(trailingOnly = TRUE)
family <- arguments[3]
terms <- strsplit(arguments[4], " ")[[1]]
random <- arguments[5]
groups <- c("base", "run", "cell", "item", "pair", "benchmark", "bb", "cb", "cluster")
rows <- read.csv(arguments[1])
for (name in groups) rows[[name]] <- factor(rows[[name]])

formula_of <- function(fixed) as.formula(paste("value ~", paste(c("1", fixed, random), collapse = " + ")))

# A variance of 0 is an ordinary point for lme4, so nothing is dropped from the model. What an optimizer does not bring to an
# end another one may.
optimizers <- c("nloptwrap", "bobyqa")
done <- function(fit) inherits(fit, "merMod") && fit@optinfo$conv$opt == 0

fit_one <- function(data) {
  messages <- character(0)
  note <- function(text) messages <<- c(messages, text)
  try_fit <- function(fixed, reml = FALSE) {
    for (optimizer in optimizers) {
      fit <- withCallingHandlers(
        tryCatch(
          if (family == "binomial") {
            glmer(formula_of(fixed), data = data, family = binomial,
              control = glmerControl(optimizer = optimizer, calc.derivs = FALSE))
          } else {
            lmer(formula_of(fixed), data = data, REML = reml, control = lmerControl(optimizer = optimizer, calc.derivs = FALSE))
          },
          error = function(e) {
            note(paste0(optimizer, ": ", conditionMessage(e)))
            e
          }
        ),
        warning = function(w) {
          note(paste0(optimizer, ": ", conditionMessage(w)))
          invokeRestart("muffleWarning")
        },
        message = function(m) invokeRestart("muffleMessage")
      )
      if (done(fit)) break
    }
    fit
  }
  fit <- try_fit(terms, reml = TRUE)
  if (inherits(fit, "error")) return(list(error = conditionMessage(fit)))
  full <- if (family == "binomial") fit else try_fit(terms)
  null <- try_fit(setdiff(terms, c("w", "w2")))
  ratio <- if (done(full) && done(null)) 2 * as.numeric(logLik(full) - logLik(null)) else NA_real_
  variances <- as.data.frame(VarCorr(fit))
  variances$grp <- sub("\\.[0-9]+$", "", variances$grp)
  list(
    fixed = as.list(fixef(fit)),
    covariance = matrix(as.numeric(vcov(fit, use.hessian = FALSE)), length(fixef(fit))),
    variances = variances[c("grp", "var1", "var2", "vcov")],
    log_likelihood = if (done(full)) as.numeric(logLik(full)) else NA_real_,
    lrt_chisq = ratio, singular = isSingular(fit), converged = done(fit), n = nobs(fit),
    messages = I(unique(messages))
  )
}

results <- lapply(split(rows, rows$fit), function(data) {
  tryCatch(fit_one(droplevels(data)), error = function(e) list(error = conditionMessage(e)))
})
version <- paste0(R.version.string, ", lme4 ", packageVersion("lme4"))
write_json(list(version = version, fits = results), arguments[2], digits = NA, auto_unbox = TRUE, na = "null", null = "null")
