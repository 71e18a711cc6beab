# Beta regression of scores on the transformed prompt weight (PLW paper, section 5.2), by glmmTMB.
#
#   Rscript glmm.R DATA.csv OUT.json [raw|orthogonal]
#
# DATA.csv has the columns dataset, score (within 0 and 1, both excluded), w_p, benchmark, model and, where seeds get a random
# intercept too, seed. OUT.json gets one object per dataset: coefficients with their covariance, the Wald and likelihood-ratio
# tests of both polynomial terms, variances, and every message of the fit.
suppressPackageStartupMessages({
  library(glmmTMB)
  library(jsonlite)
})

arguments <- commandArgs(trailingOnly = TRUE)
polynomial <- if (length(arguments) > 2) arguments[3] else "raw"
scores <- read.csv(arguments[1], stringsAsFactors = FALSE, na.strings = character(0), colClasses = c(
  dataset = "character", benchmark = "character", model = "character", score = "numeric", w_p = "numeric"
))
terms <- c(raw = "w_p + I(w_p^2)", orthogonal = "poly(w_p, 2)")[[polynomial]]

# The paper's model first; where no optimizer brings it to an end, simpler random parts, and the answer says which.
slopes <- list(
  "correlated slopes" = paste0(" + (0 + ", terms, " | benchmark)"),
  "uncorrelated slopes" = paste0(" + diag(0 + ", terms, " | benchmark)"),
  "no random slopes" = ""
)
controls <- list(
  nlminb = glmmTMBControl(),
  BFGS = glmmTMBControl(optimizer = optim, optArgs = list(method = "BFGS"))
)

converged <- function(fit) {
  inherits(fit, "glmmTMB") && fit$fit$convergence == 0 && isTRUE(fit$sdr$pdHess)
}

# Whether a variance is 0 or the slopes' correlation 1, for all that the likelihood can tell.
singular <- function(fit) {
  any(vapply(VarCorr(fit)$cond, function(random) {
    any(attr(random, "stddev") < 1e-3) || any(abs(attr(random, "correlation")[upper.tri(random)]) > 0.9999)
  }, logical(1)), na.rm = TRUE)
}

fit_dataset <- function(rows) {
  intercepts <- Filter(function(name) name %in% names(rows) && length(unique(rows[[name]])) > 1, c("model", "seed"))
  for (name in c("benchmark", intercepts)) rows[[name]] <- factor(rows[[name]])
  rest <- paste0(" + (1 | ", intercepts, ")", recycle0 = TRUE, collapse = "")
  messages <- character(0)
  note <- function(text) messages <<- c(messages, text)
  try_fit <- function(fixed, part, optimizer) {
    withCallingHandlers(
      tryCatch(
        glmmTMB(as.formula(paste0("score ~ ", fixed, slopes[[part]], rest)), family = beta_family(link = "logit"),
          data = rows, control = controls[[optimizer]]),
        error = function(e) {
          note(paste0(part, ", ", optimizer, ": ", conditionMessage(e)))
          e
        }
      ),
      warning = function(w) {
        note(paste0(part, ", ", optimizer, ": ", conditionMessage(w)))
        invokeRestart("muffleWarning")
      }
    )
  }
  for (part in names(slopes)) {
    for (optimizer in names(controls)) {
      fit <- try_fit(terms, part, optimizer)
      if (converged(fit)) break
      if (inherits(fit, "glmmTMB") && singular(fit)) note(paste0(part, ", ", optimizer, ": singular"))
    }
    if (converged(fit)) break
  }
  if (inherits(fit, "error")) return(list(error = conditionMessage(fit)))
  null <- try_fit("1", part, optimizer)
  fixed <- fixef(fit)$cond
  covariance <- as.matrix(vcov(fit)$cond)
  b <- fixed[2:3]
  chisq <- tryCatch(drop(t(b) %*% solve(covariance[2:3, 2:3]) %*% b), error = function(e) {
    note(paste("Wald test:", conditionMessage(e)))
    NA_real_
  })
  # logLik() is NA where the Hessian is not positive definite; the objective is always there.
  ratio <- if (inherits(null, "glmmTMB")) 2 * (null$fit$objective - fit$fit$objective) else NA_real_
  random <- VarCorr(fit)$cond
  list(
    fixed = as.list(setNames(fixed, c("intercept", "w", "w2"))),
    covariance = matrix(as.numeric(covariance), 3),
    chisq = chisq, lrt_chisq = ratio,
    random_part = part, optimizer = optimizer,
    benchmark_covariance = if (part != "no random slopes") matrix(as.numeric(random$benchmark), 2),
    variances = as.list(vapply(random[intercepts], function(one) as.numeric(one)[1], numeric(1))),
    dispersion = sigma(fit), log_likelihood = -fit$fit$objective, n = nobs(fit),
    converged = converged(fit),
    messages = I(unique(messages))
  )
}

results <- lapply(split(scores, scores$dataset), function(rows) {
  tryCatch(fit_dataset(rows), error = function(e) list(error = conditionMessage(e)))
})
version <- paste0(R.version.string, ", glmmTMB ", packageVersion("glmmTMB"))
write_json(list(version = version, fits = results), arguments[2], digits = NA, auto_unbox = TRUE, na = "null", null = "null")
