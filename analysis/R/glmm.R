# Beta regression of scaled scores on the transformed prompt weight (PLW paper, section 5.2), by glmmTMB.
#
#   Rscript glmm.R DATA.csv OUT.json
#
# DATA.csv has the columns dataset, score (within 0 and 1, both excluded), w_p, benchmark, model. OUT.json gets one object per
# dataset: coefficients with their covariance, the Wald test of both polynomial terms, variances, and every message of the fit.
suppressPackageStartupMessages({
  library(glmmTMB)
  library(jsonlite)
})

arguments <- commandArgs(trailingOnly = TRUE)
scores <- read.csv(arguments[1], stringsAsFactors = FALSE, na.strings = character(0), colClasses = c(
  dataset = "character", benchmark = "character", model = "character", score = "numeric", w_p = "numeric"
))

# The paper's model first; where no optimizer brings it to an end, simpler random parts, and the answer says which.
models <- list(
  full = score ~ w_p + I(w_p^2) + (0 + w_p + I(w_p^2) | benchmark) + (1 | model),
  "uncorrelated slopes" = score ~ w_p + I(w_p^2) + diag(0 + w_p + I(w_p^2) | benchmark) + (1 | model),
  "no random slopes" = score ~ w_p + I(w_p^2) + (1 | model)
)
controls <- list(
  nlminb = glmmTMBControl(),
  BFGS = glmmTMBControl(optimizer = optim, optArgs = list(method = "BFGS"))
)

converged <- function(fit) {
  inherits(fit, "glmmTMB") && fit$fit$convergence == 0 && isTRUE(fit$sdr$pdHess)
}

fit_dataset <- function(rows) {
  rows$benchmark <- factor(rows$benchmark)
  rows$model <- factor(rows$model)
  messages <- character(0)
  note <- function(text) messages <<- c(messages, text)
  for (model in names(models)) {
    for (optimizer in names(controls)) {
      fit <- withCallingHandlers(
        tryCatch(
          glmmTMB(models[[model]], family = beta_family(link = "logit"), data = rows, control = controls[[optimizer]]),
          error = function(e) {
            note(paste0(model, ", ", optimizer, ": ", conditionMessage(e)))
            e
          }
        ),
        warning = function(w) {
          note(paste0(model, ", ", optimizer, ": ", conditionMessage(w)))
          invokeRestart("muffleWarning")
        }
      )
      if (converged(fit)) break
    }
    if (converged(fit)) break
  }
  if (inherits(fit, "error")) return(list(error = conditionMessage(fit)))
  fixed <- fixef(fit)$cond
  covariance <- as.matrix(vcov(fit)$cond)
  slopes <- c("w_p", "I(w_p^2)")
  b <- fixed[slopes]
  chisq <- tryCatch(drop(t(b) %*% solve(covariance[slopes, slopes]) %*% b), error = function(e) {
    messages <<- c(messages, paste("Wald test:", conditionMessage(e)))
    NA_real_
  })
  random <- VarCorr(fit)$cond
  list(
    intercept = unname(fixed["(Intercept)"]), w = unname(fixed["w_p"]), w2 = unname(fixed["I(w_p^2)"]),
    se = as.list(setNames(sqrt(diag(covariance)), c("intercept", "w", "w2"))),
    chisq = chisq, df = 2, p = pchisq(chisq, df = 2, lower.tail = FALSE),
    random_slopes = model, optimizer = optimizer,
    benchmark_covariance = if (model != "no random slopes") matrix(as.numeric(random$benchmark), 2),
    model_variance = as.numeric(random$model)[1],
    dispersion = sigma(fit), log_likelihood = as.numeric(logLik(fit)), n = nobs(fit),
    converged = converged(fit),
    messages = I(unique(messages))
  )
}

results <- lapply(split(scores, scores$dataset), function(rows) {
  tryCatch(fit_dataset(rows), error = function(e) list(error = conditionMessage(e)))
})
version <- paste0(R.version.string, ", glmmTMB ", packageVersion("glmmTMB"))
write_json(list(version = version, fits = results), arguments[2], digits = NA, auto_unbox = TRUE, na = "null", null = "null")
